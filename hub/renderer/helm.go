package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"path"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/releaseutil"
)

const notesSuffix = "NOTES.txt"

// renderChart renders a chart as `helm template` does for a first installation, with the capabilities of the cluster
// that gets it. There is no cluster to ask: `lookup` finds nothing.
func renderChart(request *Request) (*Answer, error) {
	// Helm writes about hooks that it does not know to the log.
	log.SetOutput(io.Discard)
	files, err := chartFiles(request)
	if err != nil {
		return nil, err
	}
	loaded, err := load(files)
	if err != nil {
		return nil, err
	}
	capabilities, err := capabilitiesOf(request, loaded)
	if err != nil {
		return nil, err
	}
	values, err := valuesOf(request, loaded, capabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Engine{}.Render(loaded, values)
	if err != nil {
		return nil, templateFailure(loaded.Name(), err)
	}
	answer := &Answer{Chart: &ChartInfo{
		Name:       loaded.Name(),
		Version:    loaded.Metadata.Version,
		AppVersion: loaded.Metadata.AppVersion,
	}}
	for name, text := range rendered {
		if strings.HasSuffix(name, notesSuffix) {
			if name == path.Join(loaded.Name(), "templates", notesSuffix) {
				answer.Notes = strings.TrimSpace(text)
			}
			delete(rendered, name)
		}
	}
	if request.IncludeCRDs {
		if err := addDefinitions(answer, loaded); err != nil {
			return nil, err
		}
	}
	if err := addRendered(answer, loaded.Name(), rendered, capabilities, request.IncludeCRDs); err != nil {
		return nil, err
	}
	return answer, nil
}

// chartFiles finds the chart: where it is said to be, else at the root, else in the one folder that a packed chart has.
func chartFiles(request *Request) ([]File, error) {
	files, err := under(request)
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, file := range files {
		if file.Path == chartutil.ChartfileName {
			return files, nil
		}
		if folder, name := path.Split(file.Path); name == chartutil.ChartfileName && strings.Count(folder, "/") == 1 {
			roots = append(roots, strings.TrimSuffix(folder, "/"))
		}
	}
	if request.Path == "" && len(roots) == 1 {
		return under(&Request{Files: files, Path: roots[0]})
	}
	return nil, &Failure{
		Reason:  ReasonBadArtifact,
		Message: fmt.Sprintf("there is no %s in %q", chartutil.ChartfileName, "/"+request.Path),
	}
}

func load(files []File) (*chart.Chart, error) {
	buffered := make([]*loader.BufferedFile, 0, len(files))
	for _, file := range files {
		buffered = append(buffered, &loader.BufferedFile{Name: file.Path, Data: file.Contents})
	}
	loaded, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, &Failure{Reason: ReasonBadArtifact, Message: err.Error()}
	}
	if err := loaded.Validate(); err != nil {
		return nil, &Failure{Reason: ReasonBadArtifact, Message: err.Error(), File: chartutil.ChartfileName}
	}
	if kind := loaded.Metadata.Type; kind != "" && kind != "application" {
		return nil, &Failure{
			Reason:  ReasonBadArtifact,
			Message: fmt.Sprintf("a chart of type %q installs nothing", kind),
			File:    chartutil.ChartfileName,
		}
	}
	if err := action.CheckDependencies(loaded, loaded.Metadata.Dependencies); err != nil {
		return nil, &Failure{
			Reason:  ReasonDependencies,
			Message: err.Error() + ": a packed chart carries its dependencies, one in Git needs them in its folder charts",
			File:    chartutil.ChartfileName,
		}
	}
	return loaded, nil
}

func capabilitiesOf(request *Request, loaded *chart.Chart) (*chartutil.Capabilities, error) {
	kubernetes, err := chartutil.ParseKubeVersion(request.KubeVersion)
	if err != nil {
		return nil, &Failure{
			Reason:  ReasonIncompatible,
			Message: fmt.Sprintf("the cluster's version %q cannot be read", request.KubeVersion),
		}
	}
	if wanted := loaded.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, kubernetes.Version) {
		return nil, &Failure{
			Reason:  ReasonIncompatible,
			Message: fmt.Sprintf("the chart needs Kubernetes %s, the cluster has %s", wanted, kubernetes.Version),
			File:    chartutil.ChartfileName,
		}
	}
	return &chartutil.Capabilities{
		KubeVersion: *kubernetes,
		APIVersions: chartutil.VersionSet(request.APIVersions),
		HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, nil
}

func valuesOf(request *Request, loaded *chart.Chart, capabilities *chartutil.Capabilities) (chartutil.Values, error) {
	given := request.Values
	if given == nil {
		given = map[string]any{}
	}
	if err := chartutil.ProcessDependenciesWithMerge(loaded, given); err != nil {
		return nil, &Failure{Reason: ReasonValues, Message: err.Error()}
	}
	options := chartutil.ReleaseOptions{
		Name:      request.ReleaseName,
		Namespace: request.Namespace,
		Revision:  1,
		IsInstall: true,
	}
	values, err := chartutil.ToRenderValuesWithSchemaValidation(loaded, given, options, capabilities, false)
	if err != nil {
		return nil, &Failure{Reason: ReasonValues, Message: strings.TrimSpace(err.Error()), File: "values.schema.json"}
	}
	if merged, err := values.Table("Values"); err == nil {
		takeAway(merged, given)
	}
	return values, nil
}

// takeAway deletes what was given as null. Helm itself leaves the null where the chart has no such value.
func takeAway(values, given map[string]any) {
	for key, value := range given {
		held, isThere := values[key]
		if !isThere {
			continue
		}
		if value == nil && held == nil {
			delete(values, key)
			continue
		}
		inner, isMap := value.(map[string]any)
		below, isMapToo := held.(map[string]any)
		if isMap && isMapToo {
			takeAway(below, inner)
		}
	}
}

func addDefinitions(answer *Answer, loaded *chart.Chart) error {
	definitions := loaded.CRDObjects()
	sort.SliceStable(definitions, func(a, b int) bool { return definitions[a].Filename < definitions[b].Filename })
	for _, definition := range definitions {
		objects, err := decode(definition.Filename, definition.File.Data)
		if err != nil {
			return err
		}
		for _, object := range objects {
			kept, err := outlivesRelease(object)
			if err != nil {
				return badYAML(definition.Filename, 1, err)
			}
			answer.Objects = append(answer.Objects, kept)
		}
	}
	return nil
}

// outlivesRelease has an object of a chart's folder crds stay when a release lacks it, as Helm does: with a definition
// go all objects of its kind, whoever made them. A chart that says something of it itself is believed.
func outlivesRelease(definition json.RawMessage) (json.RawMessage, error) {
	var object, metadata map[string]json.RawMessage
	annotations := map[string]string{}
	if err := json.Unmarshal(definition, &object); err != nil {
		return nil, err
	}
	if err := unmarshalIfThere(object["metadata"], &metadata); err != nil {
		return nil, err
	}
	if err := unmarshalIfThere(metadata["annotations"], &annotations); err != nil {
		return nil, err
	}
	if _, says := annotations[kube.ResourcePolicyAnno]; says || metadata == nil {
		return definition, nil
	}
	annotations[kube.ResourcePolicyAnno] = kube.KeepPolicy
	var err error
	if metadata["annotations"], err = json.Marshal(annotations); err != nil {
		return nil, err
	}
	if object["metadata"], err = json.Marshal(metadata); err != nil {
		return nil, err
	}
	return json.Marshal(object)
}

// unmarshalIfThere leaves the target as it is where there is nothing, or null.
func unmarshalIfThere(text json.RawMessage, target any) error {
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	return json.Unmarshal(text, target)
}

func addRendered(
	answer *Answer, chartName string, rendered map[string]string, capabilities *chartutil.Capabilities,
	includeCRDs bool,
) error {
	hooks, manifests, err := releaseutil.SortManifests(rendered, capabilities.APIVersions, releaseutil.InstallOrder)
	if err != nil {
		return brokenManifest(chartName, err)
	}
	if err := addUnknown(answer, chartName, rendered, includeCRDs); err != nil {
		return err
	}
	for _, manifest := range manifests {
		objects, err := decode(inChart(chartName, manifest.Name), []byte(manifest.Content))
		if err != nil {
			return err
		}
		answer.Objects = append(answer.Objects, objects...)
	}
	if err := addHooks(answer, chartName, hooks); err != nil {
		return err
	}
	if len(answer.Objects) == 0 {
		answer.Objects = []json.RawMessage{}
	}
	return nil
}
