package definitions

import (
	"strings"
	"testing"
)

func TestAListIsSortedAndUnknownSetsAreNamed(t *testing.T) {
	list, err := Parse(" traefik, istio,traefik,")
	if err != nil || list != "istio,traefik" {
		t.Fatalf("got %q, %v", list, err)
	}
	if !Has(list, Traefik) || Has(list, "keda") || Has("", Traefik) {
		t.Errorf("%q has traefik and no keda", list)
	}
	if empty, err := Parse(""); err != nil || empty != "" {
		t.Errorf("an empty list: got %q, %v", empty, err)
	}
	_, err = Parse("istio,linkrd")
	if err == nil || !strings.Contains(err.Error(), `"linkrd"`) || !strings.Contains(err.Error(), "istio") {
		t.Errorf("an unknown set: got %v", err)
	}
}

func TestDefinitionsAreFoundAmongOtherDocuments(t *testing.T) {
	const file = `# a comment
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    "helm.sh/resource-policy": keep
  name: virtualservices.networking.istio.io
spec:
  group: networking.istio.io
---
apiVersion: v1
kind: Namespace
metadata:
  name: elsewhere
---

---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: "gateways.networking.istio.io"
`
	found := Split(file)
	if len(found) != 2 {
		t.Fatalf("found %d definitions: %v", len(found), found)
	}
	for i, want := range []string{"virtualservices.networking.istio.io", "gateways.networking.istio.io"} {
		if found[i].Name != want || !strings.Contains(found[i].YAML, "kind: CustomResourceDefinition") {
			t.Errorf("definition %d is %q, want %q", i, found[i].Name, want)
		}
	}
}

func TestEverySetIsPinned(t *testing.T) {
	for name, set := range sets {
		if set.module == "" {
			continue
		}
		if !strings.HasPrefix(set.version, "v") || !strings.HasPrefix(set.sum, "h1:") || len(set.files) == 0 {
			t.Errorf("%s is not pinned: %+v", name, set)
		}
	}
}

func TestWrittenSetsAreWhole(t *testing.T) {
	written := map[string]int{"apisix": 1, "app-mesh": 2, "gloo": 3, "kruise": 1, "kuma": 1, "linkerd": 2}
	for name, want := range written {
		found, err := Load(t.Context(), name)
		if err != nil || len(found) != want {
			t.Errorf("%s has %d definitions, not %d: %v", name, len(found), want, err)
		}
	}
}
