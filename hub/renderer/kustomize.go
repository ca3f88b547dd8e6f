package main

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Where the artifact and the kustomization over it lie, in a file system that is in memory alone.
const (
	artifactRoot = "/artifact"
	overlayRoot  = "/overlay"
)

// renderKustomization builds a kustomization of the artifact, with images and patches laid over it.
func renderKustomization(request *Request) (*Answer, error) {
	root := path.Join(artifactRoot, path.Clean("/"+request.Path))
	files := filesys.MakeFsInMemory()
	for _, file := range request.Files {
		if err := files.WriteFile(path.Join(artifactRoot, file.Path), file.Contents); err != nil {
			return nil, fmt.Errorf("failed to lay out %s: %w", file.Path, err)
		}
		if isKustomization(file.Path) {
			if err := refuseRemote(file); err != nil {
				return nil, err
			}
		}
	}
	if !hasKustomization(files, root) {
		return nil, &Failure{
			Reason:  ReasonBadArtifact,
			Message: fmt.Sprintf("there is no kustomization.yaml in %q", "/"+request.Path),
		}
	}
	target := root
	if len(request.Images)+len(request.Patches) > 0 {
		overlay, err := overlay(request, root)
		if err != nil {
			return nil, err
		}
		if err := files.WriteFile(path.Join(overlayRoot, konfig.DefaultKustomizationFileName()), overlay); err != nil {
			return nil, fmt.Errorf("failed to lay out the overlay: %w", err)
		}
		target = overlayRoot
	}
	// The defaults run no plugins and leave the root of no kustomization.
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, target)
	if err != nil {
		return nil, kustomizeFailure(err)
	}
	return answerOf(built)
}

func answerOf(built resmap.ResMap) (*Answer, error) {
	answer := &Answer{}
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return nil, &Failure{Reason: ReasonKustomize, Message: err.Error()}
		}
		// Through text, so that scalars are read as everywhere else.
		objects, err := decode(resource.CurId().String(), text)
		if err != nil {
			return nil, err
		}
		answer.Objects = append(answer.Objects, objects...)
	}
	if len(answer.Objects) == 0 {
		return nil, &Failure{Reason: ReasonKustomize, Message: "the kustomization builds no objects"}
	}
	return answer, nil
}

func overlay(request *Request, root string) ([]byte, error) {
	relative := ".." + root
	text, err := json.Marshal(map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1",
		"kind":       "Kustomization",
		"resources":  []string{relative},
		"images":     request.Images,
		"patches":    request.Patches,
	})
	if err != nil {
		return nil, fmt.Errorf("failed to write the overlay: %w", err)
	}
	return text, nil
}

func isKustomization(file string) bool {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if path.Base(file) == name {
			return true
		}
	}
	return false
}

func hasKustomization(files filesys.FileSystem, folder string) bool {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if files.Exists(path.Join(folder, name)) {
			return true
		}
	}
	return false
}

// refuseRemote refuses what would be fetched from elsewhere, and what would run a program, by name: kustomize itself
// would try both.
func refuseRemote(file File) error {
	var content map[string]any
	if err := yaml.Unmarshal(file.Contents, &content); err != nil {
		return &Failure{Reason: ReasonBadYAML, Message: err.Error(), File: file.Path}
	}
	for _, field := range []string{"helmCharts", "helmChartInflationGenerator", "helmGlobals"} {
		if content[field] != nil {
			return &Failure{
				Reason:  ReasonForbidden,
				Message: field + " would run helm: name the chart as a component of its own",
				File:    file.Path,
			}
		}
	}
	for _, field := range []string{"resources", "bases", "components", "configurations", "crds", "generators",
		"transformers", "validators", "patchesStrategicMerge"} {
		entries, _ := content[field].([]any)
		for _, entry := range entries {
			if text, isText := entry.(string); isText && isRemote(text) {
				return &Failure{
					Reason: ReasonForbidden,
					Message: fmt.Sprintf("%s names %q, which is elsewhere: a kustomization uses what its artifact holds",
						field, text),
					File: file.Path,
				}
			}
		}
	}
	return nil
}

func isRemote(text string) bool {
	first, _, _ := strings.Cut(text, "\n")
	return strings.Contains(first, "://") || strings.HasPrefix(first, "git@") || strings.HasPrefix(first, "git::") ||
		strings.HasPrefix(first, "github.com/") || strings.Contains(first, "?ref=")
}

func kustomizeFailure(err error) *Failure {
	message := strings.ReplaceAll(err.Error(), artifactRoot+"/", "")
	return &Failure{Reason: ReasonKustomize, Message: message}
}
