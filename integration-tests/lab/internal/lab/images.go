package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"bellwether.local/lab/internal/cluster"
	"bellwether.local/lab/internal/image"
	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/plan"
	"bellwether.local/lab/internal/state"
)

// Import gives an image to every real cluster of the lab that does not have it yet.
func Import(ctx context.Context, name string, made image.Image) error {
	lab, _, err := state.Find(name)
	if err != nil {
		return err
	}
	description, err := lab.Description()
	if err != nil {
		return err
	}
	archive, err := os.CreateTemp("", "lab-image-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	digests, err := image.Write(archive, []image.Image{made})
	if err != nil {
		return err
	}
	failures := make([]error, len(description.Clusters))
	var all sync.WaitGroup
	for i, c := range description.Clusters {
		if c.Kind == plan.Real {
			all.Go(func() {
				socket := cluster.ContainerdSocket(lab.Directory, c.Name)
				failures[i] = importInto(ctx, c.Name, socket, archive.Name(), made.Reference, digests[made.Reference])
			})
		}
	}
	all.Wait()
	return errors.Join(failures...)
}

func importInto(ctx context.Context, name, socket, archive, reference, digest string) error {
	listed, err := exec.CommandContext(ctx, "ctr", "--address", socket, "--namespace", "k8s.io",
		"images", "list", "name=="+reference).Output()
	if err != nil {
		return fmt.Errorf("%s: list images: %w", name, err)
	}
	if strings.Contains(string(listed), digest) {
		log.Progress("%s: has %s already", name, reference)
		return nil
	}
	if err := cluster.ImportImages(ctx, socket, archive); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	log.Progress("%s: has %s now", name, reference)
	return nil
}
