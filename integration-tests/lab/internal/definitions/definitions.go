// Package definitions takes sets of custom resource definitions out of Go modules, as they were released: a provider
// is tested against the definitions that its users have. Where no registry has them, the set is written from the
// project's documentation, and says so.
package definitions

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Traefik is the set of Traefik's own kinds: with it, the gateway reads them too.
const Traefik = "traefik"

// Contour is the set of Contour's own kinds, without which it does not start.
const Contour = "contour"

// written holds the sets that are written from documentation, a file each.
//
//go:embed written/*.yaml
var written embed.FS

// set is where one set comes from. The sum is the one that go.sum would hold: these modules are data here, and a
// requirement in a go.mod would bring in everything that their programs need.
type set struct {
	module, version, sum string
	// files are patterns below the module; without a module, one file of written.
	files []string
}

var sets = map[string]set{
	"apisix":   {files: []string{"written/apisix.yaml"}},
	"app-mesh": {files: []string{"written/app-mesh.yaml"}},
	"gloo":     {files: []string{"written/gloo.yaml"}},
	"kruise":   {files: []string{"written/kruise.yaml"}},
	"kuma":     {files: []string{"written/kuma.yaml"}},
	"linkerd":  {files: []string{"written/linkerd.yaml"}},
	Contour: {
		"github.com/projectcontour/contour", "v1.33.8", "h1:QoOfwqWws+CVRFpsRC2+f1DmB5IdurtyUtepIsiWfE0=",
		[]string{"examples/contour/01-crds.yaml"},
	},
	"gateway-experimental": {
		"sigs.k8s.io/gateway-api", "v1.4.0", "h1:ZwlNM6zOHq0h3WUX2gfByPs2yAEsy/EenYJB78jpQfQ=",
		[]string{"config/crd/experimental/gateway*.yaml"},
	},
	"istio": {
		"istio.io/api", "v1.32.0", "h1:37mJvg9I0biYZAEQF+MATs4FNeCpXEIVO3LFpVb6iNM=",
		[]string{"kubernetes/customresourcedefinitions.gen.yaml"},
	},
	"keda": {
		"github.com/kedacore/keda/v2", "v2.21.0", "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
		[]string{"config/crd/bases/keda.sh_*.yaml"},
	},
	"knative": {
		"knative.dev/serving", "v0.51.0", "h1:yN2Q7eYqJgoPfZkATjoBZyGbZ2P1Qhns9HIMU4mF+to=",
		[]string{"config/core/300-resources/service.yaml"},
	},
	"kyverno": {
		"github.com/kyverno/kyverno", "v1.13.6", "h1:hsyfL8Ty1zQRlUQsY9KV8xxA188sfUyQtsFBqlyLq/g=",
		[]string{"config/crds/kyverno/kyverno.io_clusterpolicies.yaml"},
	},
	// As Kyverno installs them: the working group's own module cannot be had.
	"policy-reports": {
		"github.com/kyverno/kyverno", "v1.13.6", "h1:hsyfL8Ty1zQRlUQsY9KV8xxA188sfUyQtsFBqlyLq/g=",
		[]string{"config/crds/policyreport/wgpolicyk8s.io_*.yaml"},
	},
	Traefik: {
		"github.com/traefik/traefik/v3", "v3.6.12", "h1:6pe4s7aaDTQs+AsF7KP3sM/xnq7zOVvibRQe5tw9eFo=",
		[]string{"docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"},
	},
}

// Definition is one custom resource definition.
type Definition struct {
	// Name is the definition's own, such as virtualservices.networking.istio.io.
	Name string
	YAML string
}

// Names are the sets that there are, sorted.
func Names() []string { return slices.Sorted(maps.Keys(sets)) }

// Parse reads a list of sets, separated by commas, and gives it sorted and without repetitions.
func Parse(list string) (string, error) {
	var wanted []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if _, known := sets[name]; !known {
			return "", fmt.Errorf("there is no set of definitions %q; there are %s", name, strings.Join(Names(), ", "))
		}
		wanted = append(wanted, name)
	}
	slices.Sort(wanted)
	return strings.Join(slices.Compact(wanted), ","), nil
}

// Has tells whether a parsed list has the set.
func Has(list, name string) bool { return slices.Contains(strings.Split(list, ","), name) }

// Load reads every definition of a parsed list; an empty list has none.
func Load(ctx context.Context, list string) ([]Definition, error) {
	var all []Definition
	for name := range strings.SplitSeq(list, ",") {
		if name == "" {
			continue
		}
		found, err := sets[name].load(ctx)
		if err != nil {
			return nil, fmt.Errorf("definitions of %s: %w", name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s set) load(ctx context.Context) ([]Definition, error) {
	if s.module == "" {
		content, err := written.ReadFile(s.files[0])
		return Split(string(content)), err
	}
	folder, err := s.folder(ctx)
	if err != nil {
		return nil, err
	}
	var all []Definition
	for _, pattern := range s.files {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no %s in %s: %w", pattern, folder, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			all = append(all, Split(string(content))...)
		}
	}
	return all, nil
}

// folder downloads the module unless the module cache has it, and gives its place.
func (s set) folder(ctx context.Context) (string, error) {
	// Outside of any module: nothing is required by this download.
	outside, err := os.MkdirTemp("", "lab-definitions-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(outside)
	command := exec.CommandContext(ctx, "go", "mod", "download", "-json", s.module+"@"+s.version)
	command.Dir = outside
	command.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off")
	output, runErr := command.Output()
	var answer struct{ Dir, Sum, Error string }
	if err := json.Unmarshal(bytes.TrimSpace(output), &answer); err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w", s.module, s.version, runErr)
	}
	switch {
	case answer.Error != "":
		return "", fmt.Errorf("go mod download: %s", answer.Error)
	case answer.Sum != s.sum:
		return "", fmt.Errorf("%s@%s has the sum %s, not %s", s.module, s.version, answer.Sum, s.sum)
	}
	return answer.Dir, nil
}

var (
	separator = regexp.MustCompile(`(?m)^---.*$`)
	kind      = regexp.MustCompile(`(?m)^kind: *CustomResourceDefinition *$`)
	// The name stands two spaces deep, in the metadata, before anything else does by that name.
	name = regexp.MustCompile(`(?m)^  name: *"?([a-z0-9.-]+)"? *$`)
)

// Split finds the definitions in a file of YAML documents.
func Split(content string) []Definition {
	var found []Definition
	for _, document := range separator.Split(content, -1) {
		if match := name.FindStringSubmatch(document); kind.MatchString(document) && match != nil {
			found = append(found, Definition{match[1], document})
		}
	}
	return found
}
