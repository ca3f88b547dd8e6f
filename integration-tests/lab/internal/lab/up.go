// Package lab starts and stops whole labs.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"bellwether.local/lab/internal/build"
	"bellwether.local/lab/internal/cluster"
	"bellwether.local/lab/internal/image"
	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/network"
	"bellwether.local/lab/internal/plan"
	"bellwether.local/lab/internal/process"
	"bellwether.local/lab/internal/state"
)

// Up starts a lab with these settings, or finds that it is running already. Whatever is there half, after a crash or
// a kill, is removed first.
func Up(ctx context.Context, name, directory string, settings state.Settings, output build.Output) (state.Description, error) {
	none := state.Description{}
	if err := requirements(); err != nil {
		return none, err
	}
	if err := state.CheckName(name); err != nil {
		return none, err
	}
	release, err := state.Lock(name)
	if err != nil {
		return none, err
	}
	defer release()
	lab, known, err := state.Find(name)
	if err != nil {
		return none, err
	}
	if known && (directory == "" || directory == lab.Directory) {
		if description, ok := alreadyUp(ctx, lab, settings); ok {
			log.Progress("lab %s is up already", name)
			return description, nil
		}
	}
	if err := remove(lab, false); err != nil {
		return none, err
	}
	if directory != "" {
		if lab.Directory, err = filepath.Abs(directory); err != nil {
			return none, err
		}
	}
	return start(ctx, lab, settings, output)
}

func start(ctx context.Context, lab state.Lab, settings state.Settings, output build.Output) (state.Description, error) {
	none := state.Description{}
	if err := build.All(output, settings.Contour); err != nil {
		return none, err
	}
	lab, err := claimNetwork(lab)
	if err != nil {
		return none, err
	}
	clusters, err := plan.Clusters(lab.Network, settings.Real, settings.ControlPlane)
	if err != nil {
		return none, err
	}
	if err := prepareDirectory(lab.Directory); err != nil {
		return none, err
	}
	log.Progress("lab %s: network %s, folder %s", lab.Name, lab.Network.Prefix(), lab.Directory)
	if err := network.Create(lab.Name, lab.Network, clusters); err != nil {
		return none, err
	}
	images := filepath.Join(lab.Directory, "images.tar")
	if err := writeOwnImages(images, output); err != nil {
		return none, err
	}
	description, err := startClusters(ctx, lab, settings, clusters, images, output)
	if err != nil {
		log.Progress("the start failed; stopping what runs, logs stay in %s", lab.Directory)
		return none, errors.Join(err, remove(lab, true))
	}
	return description, lab.Describe(description)
}

// claimNetwork chooses the lab's network and writes it down before anything is made, so that a lab started at the
// same time takes the other one, and so that `down` finds what a killed `up` left.
func claimNetwork(lab state.Lab) (state.Lab, error) {
	release, err := state.Lock(".networks")
	if err != nil {
		return lab, err
	}
	defer release()
	lab.Network, err = plan.Choose(lab.Name, state.Held())
	if err != nil {
		return lab, err
	}
	return lab, state.Register(lab)
}

// prepareDirectory refuses a folder with something else in it: the lab removes the folder when it stops.
func prepareDirectory(directory string) error {
	entries, err := os.ReadDir(directory)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty and not a lab: give another --dir", directory)
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, ownership), []byte("This folder belongs to a lab and is removed with it.\n"), 0o644)
}

func startClusters(ctx context.Context, lab state.Lab, settings state.Settings, clusters []plan.Cluster, images string, output build.Output) (state.Description, error) {
	description := state.Description{
		Name: lab.Name, BridgeAddress: lab.Network.BridgeAddress().String(), Settings: settings,
		Clusters: make([]state.Cluster, len(clusters)),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	recorder := process.NewRecorder(lab.Directory)
	failures := make([]error, len(clusters))
	var all sync.WaitGroup
	for i, planned := range clusters {
		all.Go(func() {
			c := cluster.Cluster{Cluster: planned, Lab: lab, Settings: settings, Output: output, Recorder: recorder, Images: images}
			if failures[i] = c.Start(ctx); failures[i] != nil {
				cancel()
				return
			}
			description.Clusters[i] = c.Describe()
			log.Progress("%s: ready", c.Name)
		})
	}
	all.Wait()
	return description, firstCause(failures)
}

// firstCause leaves out the clusters that only stopped because another one failed.
func firstCause(failures []error) error {
	var causes []error
	for _, failure := range failures {
		if failure != nil && !errors.Is(failure, context.Canceled) {
			causes = append(causes, failure)
		}
	}
	if len(causes) == 0 {
		return errors.Join(failures...)
	}
	return errors.Join(causes...)
}

// writeOwnImages makes the archive of the images that every real cluster has from the start. The four versions of
// the demo application are one program and one layer.
func writeOwnImages(path string, output build.Output) error {
	pause, err := image.Program(cluster.PauseImage, output.Program("pause"), nil, nil)
	if err != nil {
		return err
	}
	images := []image.Image{pause}
	for _, version := range []string{"v1", "v2", "v3", "v4"} {
		env := []string{"DEMO_VERSION=" + version}
		if version == "v3" {
			env = append(env, "DEMO_ERROR_PERCENT=20")
		}
		demo, err := image.Program("bellwether.local/demo:"+version, output.Program("demoapp"), nil, env)
		if err != nil {
			return err
		}
		images = append(images, demo)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = image.Write(file, images)
	return err
}
