package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const hookTemplates = `
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations:
    helm.sh/hook: pre-install, pre-upgrade
    helm.sh/hook-weight: "5"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec: {template: {metadata: {labels: {mode: 0644}}}}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: migrate
  annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: "-1"}
---
apiVersion: v1
kind: Pod
metadata:
  name: bye
  annotations: {helm.sh/hook: post-delete}
`

func hookNamed(t *testing.T, answer *Answer, kind, name string) Hook {
	t.Helper()
	for _, hook := range answer.Hooks {
		if hook.Kind == kind && hook.Name == name {
			return hook
		}
	}
	t.Fatalf("no hook %s/%s among %+v", kind, name, answer.Hooks)
	return Hook{}
}

func TestHooksComeWithTheirObjectsWeightsAndPolicies(t *testing.T) {
	answer := rendered(t, with(chartRequest(t, `{}`), "templates/hooks.yaml", hookTemplates))
	job := hookNamed(t, answer, "Job", "migrate")
	if want := []string{"pre-install", "pre-upgrade"}; !reflect.DeepEqual(job.Events, want) {
		t.Errorf("events %v", job.Events)
	}
	if job.Weight != 5 || job.File != "templates/hooks.yaml" {
		t.Errorf("got %+v", job)
	}
	if want := []string{"before-hook-creation", "hook-succeeded"}; !reflect.DeepEqual(job.DeletePolicies, want) {
		t.Errorf("policies %v", job.DeletePolicies)
	}
	var object struct {
		Kind string
		Spec struct {
			Template struct {
				Metadata struct{ Labels map[string]any }
			}
		}
	}
	if err := json.Unmarshal(job.Object, &object); err != nil || object.Kind != "Job" {
		t.Fatalf("%s: %v", job.Object, err)
	}
	if mode := object.Spec.Template.Metadata.Labels["mode"]; mode != 420.0 {
		t.Errorf("scalars are read as Kubernetes reads them: %v", mode)
	}
	account := hookNamed(t, answer, "ServiceAccount", "migrate")
	if account.Weight != -1 || len(account.DeletePolicies) != 0 {
		t.Errorf("got %+v", account)
	}
	hookNamed(t, answer, "Pod", "bye")
	for _, name := range kinds(t, answer) {
		if strings.HasSuffix(name, "/migrate") || strings.HasSuffix(name, "/bye") {
			t.Errorf("%s is a hook and no object", name)
		}
	}
}

func TestWhatAHookHasAnewEachTimeIsSaid(t *testing.T) {
	random := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: seed\n  annotations: {helm.sh/hook: pre-install}\n" +
		"stringData: {password: '{{ randAlphaNum 20 }}'}\n"
	answer := rendered(t, with(chartRequest(t, `{}`), "templates/seed.yaml", random))
	want := []Unsettled{{Object: "Secret/seed", Field: "/stringData/password"}}
	if !reflect.DeepEqual(answer.Unsettled, want) {
		t.Errorf("got %+v", answer.Unsettled)
	}
}

func TestDefinitionsOfHelmTwoAreObjects(t *testing.T) {
	legacy := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n" +
		"  name: gadgets.charts.example\n  annotations: {helm.sh/hook: crd-install}\n"
	request := with(chartRequest(t, `{}`), "templates/gadgets.yaml", legacy)
	count := func(answer *Answer) int {
		found := 0
		for _, name := range kinds(t, answer) {
			if name == "CustomResourceDefinition/gadgets.charts.example" {
				found++
			}
		}
		return found
	}
	if found := count(rendered(t, request)); found != 1 {
		t.Errorf("%d times", found)
	}
	request.IncludeCRDs = false
	if found := count(rendered(t, request)); found != 0 {
		t.Errorf("%d times although definitions are left out", found)
	}
}

func TestAMomentThatHelmDoesNotKnowIsHandedOn(t *testing.T) {
	odd := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: odd\n  annotations: {helm.sh/hook: 'pre-install,mid-install'}\n"
	hook := hookNamed(t, rendered(t, with(chartRequest(t, `{}`), "templates/odd.yaml", odd)), "ConfigMap", "odd")
	if want := []string{"pre-install", "mid-install"}; !reflect.DeepEqual(hook.Events, want) {
		t.Errorf("events %v", hook.Events)
	}
}
