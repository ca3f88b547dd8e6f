package main

import (
	"encoding/json"
	"path"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

// legacyDefinition is how charts of Helm 2 marked their definitions, which Helm 3 passes over in silence.
const legacyDefinition = "crd-install"

// Hook is one object that Helm runs at some moment instead of keeping it.
type Hook struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Events []string `json:"events"`
	File   string   `json:"file"`
	// Weight orders hooks of one moment, lower first.
	Weight int `json:"weight,omitempty"`
	// DeletePolicies say when its object is deleted, as Helm names them; empty = before the next one is made.
	DeletePolicies []string `json:"deletePolicies,omitempty"`
	// Object is what is run.
	Object json.RawMessage `json:"object"`
}

// addHooks takes the chart's hooks over, in the order of their kinds.
func addHooks(answer *Answer, chartName string, hooks []*release.Hook) error {
	for _, hook := range hooks {
		events := make([]string, 0, len(hook.Events))
		for _, event := range hook.Events {
			events = append(events, event.String())
		}
		policies := make([]string, 0, len(hook.DeletePolicies))
		for _, policy := range hook.DeletePolicies {
			policies = append(policies, policy.String())
		}
		file := inChart(chartName, hook.Path)
		objects, err := decode(file, []byte(hook.Manifest))
		if err != nil {
			return err
		}
		for _, object := range objects {
			answer.Hooks = append(answer.Hooks, Hook{
				Name: hook.Name, Kind: hook.Kind, Events: events, File: file,
				Weight: hook.Weight, DeletePolicies: policies, Object: object,
			})
		}
	}
	return nil
}

// addUnknown takes over what Helm passes over: definitions as Helm 2 marked them are objects, and any other moment that
// Helm does not know is handed on, for somebody to refuse it by name.
func addUnknown(answer *Answer, chartName string, rendered map[string]string, includeCRDs bool) error {
	files := make([]string, 0, len(rendered))
	for file := range rendered {
		if !strings.HasPrefix(path.Base(file), "_") {
			files = append(files, file)
		}
	}
	sort.Strings(files)
	for _, file := range files {
		manifests := releaseutil.SplitManifests(rendered[file])
		keys := make([]string, 0, len(manifests))
		for key := range manifests {
			keys = append(keys, key)
		}
		sort.Sort(releaseutil.BySplitManifestsOrder(keys))
		for _, key := range keys {
			if err := addIfUnknown(answer, inChart(chartName, file), manifests[key], includeCRDs); err != nil {
				return err
			}
		}
	}
	return nil
}

func addIfUnknown(answer *Answer, file, manifest string, includeCRDs bool) error {
	var head releaseutil.SimpleHead
	if err := yaml.Unmarshal([]byte(manifest), &head); err != nil {
		return badYAML(file, 1, err)
	}
	if head.Metadata == nil {
		return nil
	}
	events, known := eventsOf(head.Metadata.Annotations)
	if known {
		return nil
	}
	objects, err := decode(file, []byte(manifest))
	if err != nil {
		return err
	}
	for _, event := range events {
		if event == legacyDefinition && head.Kind == "CustomResourceDefinition" {
			if includeCRDs {
				answer.Objects = append(answer.Objects, objects...)
			}
			return nil
		}
	}
	for _, object := range objects {
		answer.Hooks = append(answer.Hooks, Hook{
			Name: head.Metadata.Name, Kind: head.Kind, Events: events, File: file, Object: object,
		})
	}
	return nil
}

// eventsOf reads the moments of an object as Helm reads them, and says whether Helm knows them all.
func eventsOf(annotations map[string]string) ([]string, bool) {
	written, isHook := annotations[release.HookAnnotation]
	if !isHook {
		return nil, true
	}
	var events []string
	known := true
	for _, event := range strings.Split(written, ",") {
		event = strings.ToLower(strings.TrimSpace(event))
		switch release.HookEvent(event) {
		case release.HookPreInstall, release.HookPostInstall, release.HookPreDelete, release.HookPostDelete,
			release.HookPreUpgrade, release.HookPostUpgrade, release.HookPreRollback, release.HookPostRollback,
			release.HookTest, "test-success":
		default:
			known = false
		}
		events = append(events, event)
	}
	return events, known
}
