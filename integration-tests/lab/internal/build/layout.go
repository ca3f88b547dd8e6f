package build

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Components are the names by which the multi-call program is called.
var Components = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
}

// GatewayDefinitions is the folder of the Gateway API's CRDs, KwokStages the file of kwok's own stages.
const (
	GatewayDefinitions = "gateway-api"
	KwokStages         = "kwok-stages.yaml"
)

func linkComponents(output Output) error {
	for _, component := range Components {
		link := output.Program(component)
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink("kubernetes", link); err != nil {
			return err
		}
	}
	return nil
}

// moduleFolder is where the module cache holds a module that the lab's module in this folder requires.
func moduleFolder(output Output, own, module string) (string, error) {
	command := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	command.Dir = filepath.Join(output.source, own)
	command.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	command.Stderr = os.Stderr
	folder, err := command.Output()
	if err == nil && len(bytes.TrimSpace(folder)) == 0 {
		err = fmt.Errorf("module %s is not in the module cache", module)
	}
	return strings.TrimSpace(string(folder)), err
}

// copyGatewayDefinitions takes the CRDs of the Gateway API in the version that Traefik was built with.
func copyGatewayDefinitions(output Output) error {
	// `go list` gives a folder only for what is downloaded, and a build downloads no module without Go packages in it.
	download := exec.Command("go", "mod", "download", "sigs.k8s.io/gateway-api")
	download.Dir = filepath.Join(output.source, "traefik")
	download.Stderr = os.Stderr
	if err := download.Run(); err != nil {
		return err
	}
	folder, err := moduleFolder(output, "traefik", "sigs.k8s.io/gateway-api")
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(folder, "config/crd/standard/gateway*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in %s: %w", folder, err)
	}
	target := output.File(GatewayDefinitions)
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(target, filepath.Base(file)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyKwokStages puts kwok's default stages, which its own cluster tool would install, into one file.
func copyKwokStages(output Output) error {
	folder, err := moduleFolder(output, "kwok", "sigs.k8s.io/kwok")
	if err != nil {
		return err
	}
	var stages bytes.Buffer
	for _, set := range []string{"node/fast/node-*", "node/heartbeat-with-lease/node-*", "pod/fast/pod-*"} {
		files, err := filepath.Glob(filepath.Join(folder, "kustomize/stage", set+".yaml"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no stages %s in %s: %w", set, folder, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(&stages, "---\n%s\n", content)
		}
	}
	return os.WriteFile(output.File(KwokStages), stages.Bytes(), 0o644)
}
