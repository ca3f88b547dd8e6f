package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const charts = "../../integration-tests/charts"

func filesOf(t *testing.T, root string) []File {
	t.Helper()
	var files []File
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		contents, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		files = append(files, File{Path: filepath.ToSlash(relative), Contents: contents})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func chartRequest(t *testing.T, values string) *Request {
	t.Helper()
	request := &Request{
		Kind:        "helm",
		Files:       filesOf(t, filepath.Join(charts, "web")),
		ReleaseName: "shop",
		Namespace:   "ns",
		KubeVersion: "v1.33.1",
		APIVersions: []string{"apps/v1", "v1"},
		IncludeCRDs: true,
	}
	if err := json.Unmarshal([]byte(values), &request.Values); err != nil {
		t.Fatal(err)
	}
	return request
}

// with replaces or adds a file.
func with(request *Request, path, text string) *Request {
	for index := range request.Files {
		if request.Files[index].Path == path {
			request.Files[index].Contents = []byte(text)
			return request
		}
	}
	request.Files = append(request.Files, File{Path: path, Contents: []byte(text)})
	return request
}

func rendered(t *testing.T, request *Request) *Answer {
	t.Helper()
	answer := respond(request)
	if answer.Error != nil {
		t.Fatalf("not rendered: %+v", answer.Error)
	}
	return answer
}

func kinds(t *testing.T, answer *Answer) []string {
	t.Helper()
	var names []string
	for _, object := range answer.Objects {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := json.Unmarshal(object, &head); err != nil {
			t.Fatal(err)
		}
		names = append(names, head.Kind+"/"+head.Metadata.Name)
	}
	return names
}

func TestChartInOrderWithSubchartAndDefinitions(t *testing.T) {
	answer := rendered(t, chartRequest(t, `{"cache": {"enabled": true}}`))
	want := []string{
		"CustomResourceDefinition/widgets.charts.example", "ServiceAccount/shop-web", "ConfigMap/shop-cache",
		"ConfigMap/shop-web", "Service/shop-web", "Deployment/shop-web",
	}
	if got := kinds(t, answer); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if len(answer.Hooks) != 1 || answer.Hooks[0].Events[0] != "test" {
		t.Errorf("the test is a hook and no object: %+v", answer.Hooks)
	}
	if answer.Notes != "shop-web serves at port 80." || answer.Chart.Version != "1.0.0" {
		t.Errorf("notes %q, chart %+v", answer.Notes, answer.Chart)
	}
	text := string(answer.Objects[5])
	if !strings.Contains(text, `"defaultMode":420`) || !strings.Contains(text, `"image":"demo:1.0"`) {
		t.Errorf("scalars are read as Kubernetes reads them: %s", text)
	}
	if len(answer.Unsettled) != 0 {
		t.Errorf("nothing differs: %+v", answer.Unsettled)
	}
}

func TestDefinitionsOutliveTheirRelease(t *testing.T) {
	definition := func(annotations string) string {
		return `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition,
  metadata: {name: gears.charts.example` + annotations + `}, spec: {most: 9223372036854775807}}`
	}
	for annotations, want := range map[string]string{
		"":                      `{"helm.sh/resource-policy":"keep"}`,
		", annotations: null":   `{"helm.sh/resource-policy":"keep"}`,
		", annotations: {a: b}": `{"a":"b","helm.sh/resource-policy":"keep"}`,
		`, annotations: {helm.sh/resource-policy: ""}`: `{"helm.sh/resource-policy":""}`,
	} {
		request := chartRequest(t, `{}`)
		request = with(request, "crds/gears.yaml", definition(annotations))
		text := string(rendered(t, request).Objects[0])
		if !strings.Contains(text, `"annotations":`+want) {
			t.Errorf("%q: want %s in %s", annotations, want, text)
		}
		if !strings.Contains(text, `"most":9223372036854775807`) {
			t.Errorf("the rest is as it was: %s", text)
		}
	}
	// What a chart writes among its templates is an object as any other.
	request := with(chartRequest(t, `{}`), "templates/gears.yaml", definition(""))
	for _, object := range rendered(t, request).Objects {
		if text := string(object); strings.Contains(text, "gears") && strings.Contains(text, "resource-policy") {
			t.Errorf("it goes with its release: %s", text)
		}
	}
}

func TestNullTakesAValueAway(t *testing.T) {
	request := chartRequest(t, `{"podAnnotations": {"note": null, "other": "kept"}, "image": {"pullPolicy": null}}`)
	text := string(rendered(t, request).Objects[4])
	if strings.Contains(text, "note") || !strings.Contains(text, `"other":"kept"`) {
		t.Errorf("null is no value: %s", text)
	}
}

func TestTheSameGivesTheSame(t *testing.T) {
	one, _ := json.Marshal(rendered(t, chartRequest(t, `{"cache": {"enabled": true}}`)))
	for range 20 {
		other, _ := json.Marshal(rendered(t, chartRequest(t, `{"cache": {"enabled": true}}`)))
		if string(one) != string(other) {
			t.Fatalf("%s\nand\n%s", one, other)
		}
	}
}

func TestTheClusterDecidesByWhatItServes(t *testing.T) {
	request := chartRequest(t, `{}`)
	request.IncludeCRDs = false
	without := kinds(t, rendered(t, request))
	request.APIVersions = append(request.APIVersions, "monitoring.coreos.com/v1/ServiceMonitor")
	with := kinds(t, rendered(t, request))
	if len(with) != len(without)+1 || with[len(with)-1] != "ServiceMonitor/shop-web" {
		t.Errorf("without %v, with %v", without, with)
	}
	request.KubeVersion = "v1.27.3"
	answer := respond(request)
	if answer.Error == nil || answer.Error.Reason != ReasonIncompatible {
		t.Errorf("got %+v", answer.Error)
	}
}

func TestFailuresNameFileAndLine(t *testing.T) {
	const service = "templates/service.yaml"
	for name, one := range map[string]struct {
		request *Request
		reason  string
		file    string
		line    int
		says    string
	}{
		"a hyphen in a path": {
			with(chartRequest(t, `{}`), service, "a: 1\nb: {{ .Values.acceptance-test.enabled }}\n"),
			ReasonTemplate, service, 2, "U+002D",
		},
		"no keyword": {
			with(chartRequest(t, `{}`), service, "{{- if true }}\na: 1\n{{- endif }}\n"),
			ReasonTemplate, service, 3, `"endif" not defined`,
		},
		"a placeholder of others": {
			with(chartRequest(t, `{}`), service, "query: {{ namespace }}\n"),
			ReasonTemplate, service, 1, `"namespace" not defined`,
		},
		"a nil value": {
			with(chartRequest(t, `{}`), service, "a: 1\n\nb: {{ .Values.none.such }}\n"),
			ReasonTemplate, service, 3, "nil pointer",
		},
		"a helper, where it is wrong": {
			with(with(chartRequest(t, `{}`), service, "a: {{ include \"bad\" . }}\n"),
				"templates/_bad.tpl", "{{ define \"bad\" }}\n\n{{ .Values.none.such }}{{ end }}\n"),
			ReasonTemplate, "templates/_bad.tpl", 3, "nil pointer",
		},
		"fail": {
			with(chartRequest(t, `{}`), service, "a: 1\n{{ fail \"say a host\" }}\n"),
			ReasonTemplate, service, 2, "say a host",
		},
		"bad indentation": {
			with(chartRequest(t, `{}`), service, "list:\n- a: 1\n    - b: 2\n"),
			ReasonBadYAML, service, 0, "line",
		},
		"no kind": {
			with(chartRequest(t, `{}`), service, "apiVersion: v1\nmetadata: {name: a}\n"),
			ReasonBadYAML, service, 0, "needs apiVersion and kind",
		},
		"values beyond the schema": {
			chartRequest(t, `{"replicaCount": "many"}`),
			ReasonValues, "values.schema.json", 0, "/replicaCount",
		},
		"a missing subchart": {
			with(chartRequest(t, `{}`), "Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"+
				"dependencies: [{name: redis, version: 1.0.0, repository: https://charts.example}]\n"),
			ReasonDependencies, "Chart.yaml", 0, "redis",
		},
		"a library": {
			with(chartRequest(t, `{}`), "Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\ntype: library\n"),
			ReasonBadArtifact, "Chart.yaml", 0, "installs nothing",
		},
		"no chart": {&Request{Kind: "helm", Files: []File{{Path: "README.md"}}}, ReasonBadArtifact, "", 0, "Chart.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			failure := respond(one.request).Error
			if failure == nil {
				t.Fatal("it was rendered")
			}
			if failure.Reason != one.reason || failure.File != one.file || failure.Line != one.line ||
				!strings.Contains(failure.Message, one.says) {
				t.Errorf("got %+v", failure)
			}
		})
	}
}

func TestLookupFindsNothingAndNoNameIsResolved(t *testing.T) {
	request := with(chartRequest(t, `{}`), "templates/service.yaml", `apiVersion: v1
kind: ConfigMap
metadata: {name: found}
data:
  secret: {{ lookup "v1" "Secret" "kube-system" "x" | toJson | quote }}
  address: {{ getHostByName "localhost" | quote }}
`)
	text, _ := json.Marshal(rendered(t, request).Objects)
	if !strings.Contains(string(text), `"secret":"{}"`) || !strings.Contains(string(text), `"address":""`) {
		t.Errorf("%s", text)
	}
}

func TestWhatDiffersIsNamed(t *testing.T) {
	request := with(chartRequest(t, `{}`), "templates/service.yaml", `apiVersion: v1
kind: Secret
metadata: {name: web, namespace: other}
stringData: {fixed: a, "pass/word": {{ randAlphaNum 20 }}}
`)
	got := rendered(t, request).Unsettled
	want := []Unsettled{{Object: "Secret/other/web", Field: "/stringData/pass~1word"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestAPackedChartHasAFolderOfItsOwn(t *testing.T) {
	request := chartRequest(t, `{}`)
	for index := range request.Files {
		request.Files[index].Path = "web/" + request.Files[index].Path
	}
	rendered(t, request)
}

func TestKustomizations(t *testing.T) {
	request := func(prod string) *Request {
		return &Request{Kind: "kustomize", Path: "prod", Files: []File{
			{Path: "base/kustomization.yaml", Contents: []byte("resources: [map.yaml]\n")},
			{Path: "base/map.yaml", Contents: []byte(
				"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {mode: '0644'}\n")},
			{Path: "prod/kustomization.yaml", Contents: []byte(prod)},
		}}
	}
	answer := rendered(t, request("resources: [../base]\nnamePrefix: prod-\n"))
	if got := kinds(t, answer); !reflect.DeepEqual(got, []string{"ConfigMap/prod-a"}) {
		t.Errorf("got %v", got)
	}
	if !strings.Contains(string(answer.Objects[0]), `"mode":"0644"`) {
		t.Errorf("a text stays one: %s", answer.Objects[0])
	}
	for _, one := range []struct{ prod, reason, says string }{
		{"resources: ['https://example.com/base?ref=v1']\n", ReasonForbidden, "https://example.com/base"},
		{"resources: ['git@example.com:a/b']\n", ReasonForbidden, "git@example.com"},
		{"helmCharts: [{name: web}]\n", ReasonForbidden, "helmCharts"},
		{"resources: [../base]\ngenerators: [generator.yaml]\n", ReasonKustomize, "generator.yaml"},
		{"resources: [../../secrets]\n", ReasonKustomize, "secrets"},
		{"resorces: [../base]\n", ReasonKustomize, "resorces"},
		{"configMapGenerator: [{name: a, files: ['https://example.com/x']}]\n", ReasonKustomize, "no network"},
	} {
		failure := respond(request(one.prod)).Error
		if failure == nil || failure.Reason != one.reason || !strings.Contains(failure.Message, one.says) {
			t.Errorf("%s: got %+v", one.prod, failure)
		}
	}
}

func TestManifestsAreReadInTheOrderOfTheirNamesAndListsTakenApart(t *testing.T) {
	object := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
	}
	request := &Request{Kind: "manifests", Path: "deploy", Files: []File{
		{Path: "deploy/b.yml", Contents: []byte(object("b1") + "---\n# nothing\n---\n" + object("b2"))},
		{Path: "deploy/a/list.json", Contents: []byte(
			`{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]}`)},
		{Path: "deploy/README.md", Contents: []byte("# no object")},
		{Path: "other/c.yaml", Contents: []byte(object("c"))},
	}}
	if got := kinds(t, rendered(t, request)); !reflect.DeepEqual(got, []string{"Pod/a", "ConfigMap/b1", "ConfigMap/b2"}) {
		t.Errorf("got %v", got)
	}
	request.Files = append(request.Files, File{Path: "deploy/kustomization.yaml"})
	if failure := respond(request).Error; failure == nil || !strings.Contains(failure.Message, "kustomize") {
		t.Errorf("got %+v", failure)
	}
}

func TestMain(m *testing.M) {
	isolate()
	os.Exit(m.Run())
}
