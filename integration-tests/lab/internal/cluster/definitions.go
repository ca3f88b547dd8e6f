package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"bellwether.local/lab/internal/build"
	"bellwether.local/lab/internal/definitions"
)

// gatewayDefinitions are those of the Gateway API in the version that Traefik was built with.
func (c *Cluster) gatewayDefinitions() ([]definitions.Definition, error) {
	files, err := filepath.Glob(filepath.Join(c.Output.File(build.GatewayDefinitions), "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("there are no Gateway API definitions, run `lab build`: %w", err)
	}
	var all []definitions.Definition
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found := definitions.Split(string(content))
		if len(found) != 1 {
			return nil, fmt.Errorf("%s is not a definition", file)
		}
		all = append(all, found...)
	}
	return all, nil
}

// installRequested installs the sets of definitions that the lab was asked for.
func (c *Cluster) installRequested(ctx context.Context) error {
	requested, err := definitions.Load(ctx, c.Settings.Definitions)
	if err != nil {
		return err
	}
	return c.install(ctx, requested)
}

// install installs definitions and waits until they are served.
func (c *Cluster) install(ctx context.Context, all []definitions.Definition) error {
	path := func(one definitions.Definition) string {
		return "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + one.Name
	}
	for _, one := range all {
		if err := c.client.Apply(ctx, path(one), one.YAML); err != nil {
			return err
		}
	}
	for _, one := range all {
		err := c.wait(ctx, "the definition "+one.Name, nil, func(ctx context.Context) (bool, error) {
			return c.client.HasCondition(ctx, path(one), "Established")
		})
		if err != nil {
			return err
		}
	}
	return nil
}
