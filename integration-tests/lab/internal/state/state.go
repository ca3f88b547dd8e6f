// Package state keeps what the lab's subcommands need to know of each other: where a lab is, which network it holds,
// and what it offers.
package state

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"bellwether.local/lab/internal/plan"
)

const (
	// registry is where the labs of this machine are listed; it goes with a reboot, as the labs do.
	registry         = "/run/bellwether-lab"
	defaultDirectory = "/var/lib/bellwether-lab"
)

// Lab is one lab of this machine.
type Lab struct {
	Name      string       `json:"name"`
	Directory string       `json:"directory"`
	Network   plan.Network `json:"network"`
}

// Settings are what `lab up` was asked for; the same settings again mean that nothing is to be done.
type Settings struct {
	Real            int    `json:"real"`
	ControlPlane    int    `json:"controlPlane"`
	KwokNodes       int    `json:"kwokNodes"`
	ScrapeInterval  string `json:"scrapeInterval"`
	TraefikThrottle string `json:"traefikThrottle"`
	// Definitions are the sets of custom resource definitions to install, sorted and separated by commas.
	Definitions string `json:"definitions"`
	// Nginx says whether real clusters run nginx as a second data plane.
	Nginx bool `json:"nginx"`
	// Contour says whether real clusters run Contour and its Envoy as a further data plane.
	Contour bool `json:"contour"`
}

// Cluster is what lab.json says of a cluster.
type Cluster struct {
	Name          string    `json:"name"`
	Kind          plan.Kind `json:"kind"`
	Kubeconfig    string    `json:"kubeconfig"`
	APIServer     string    `json:"apiServer"`
	NodeAddress   string    `json:"nodeAddress"`
	Netns         string    `json:"netns"`
	GatewayURL    string    `json:"gatewayUrl"`
	PrometheusURL string    `json:"prometheusUrl"`
	// NginxURL is where nginx answers; empty where the lab runs none.
	NginxURL string `json:"nginxUrl,omitempty"`
	// ContourURL is where Contour's Envoy answers once there is an HTTPProxy or route; empty where the lab runs none.
	ContourURL string `json:"contourUrl,omitempty"`
}

// Description is the content of lab.json.
type Description struct {
	Name          string    `json:"name"`
	BridgeAddress string    `json:"bridgeAddress"`
	Clusters      []Cluster `json:"clusters"`
	Settings      Settings  `json:"settings"`
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`)

// CheckName refuses names that cannot be part of names of files and network namespaces.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is no name for a lab: use 1 to 20 lower-case letters, digits and dashes", name)
	}
	return nil
}

func registryFile(name string) string { return filepath.Join(registry, name+".json") }

// Find gives the lab of this name. When it is not registered, it is where it would be by default, without a network.
func Find(name string) (Lab, bool, error) {
	lab := Lab{Name: name, Directory: filepath.Join(defaultDirectory, name)}
	if err := CheckName(name); err != nil {
		return lab, false, err
	}
	content, err := os.ReadFile(registryFile(name))
	if err != nil {
		return lab, false, nil
	}
	var found Lab
	if err := json.Unmarshal(content, &found); err != nil || found.Name != name {
		return lab, false, nil
	}
	return found, true, nil
}

// Held tells which networks are held by which labs.
func Held() map[plan.Network]string {
	held := map[plan.Network]string{}
	files, _ := filepath.Glob(filepath.Join(registry, "*.json"))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if lab, known, _ := Find(name); known {
			held[lab.Network] = lab.Name
		}
	}
	return held
}

// Register writes down that the lab is there and holds its network.
func Register(lab Lab) error {
	content, err := json.Marshal(lab)
	if err != nil {
		return err
	}
	return replaceFile(registryFile(lab.Name), content)
}

// Forget takes the lab off the list.
func Forget(name string) error {
	if err := os.Remove(registryFile(name)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// Lock keeps two commands from changing labs of this machine at the same time while they choose networks, or the
// same lab at any time. It goes with the process.
func Lock(what string) (release func(), err error) {
	if err := os.MkdirAll(registry, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(registry, what+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	return func() { file.Close() }, nil
}

func (l Lab) descriptionFile() string { return filepath.Join(l.Directory, "lab.json") }

// Describe writes lab.json: the sign that the lab is complete.
func (l Lab) Describe(description Description) error {
	content, err := json.MarshalIndent(description, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(l.descriptionFile(), append(content, '\n'))
}

// Description reads lab.json.
func (l Lab) Description() (Description, error) {
	var description Description
	content, err := os.ReadFile(l.descriptionFile())
	if err != nil {
		return description, fmt.Errorf("lab %q is not up: %w", l.Name, err)
	}
	return description, json.Unmarshal(content, &description)
}

// Cluster finds one cluster of the lab.
func (d Description) Cluster(name string) (Cluster, error) {
	names := make([]string, 0, len(d.Clusters))
	for _, cluster := range d.Clusters {
		if cluster.Name == name {
			return cluster, nil
		}
		names = append(names, cluster.Name)
	}
	return Cluster{}, fmt.Errorf("lab %q has no cluster %q, it has %s", d.Name, name, strings.Join(names, ", "))
}

// replaceFile writes beside and renames, so that nobody reads half a file.
func replaceFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
