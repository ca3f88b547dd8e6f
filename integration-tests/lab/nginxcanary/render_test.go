package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func ingressOf(t *testing.T, name, service string, annotations map[string]string) ingress {
	t.Helper()
	content, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"namespace": "shop", "name": name, "annotations": annotations},
		"spec": map[string]any{"ingressClassName": "nginx", "rules": []any{map[string]any{
			"host": "shop.example", "http": map[string]any{"paths": []any{map[string]any{
				"path": "/", "pathType": "Prefix",
				"backend": map[string]any{"service": map[string]any{"name": service, "port": map[string]any{"name": "http"}}},
			}}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var parsed ingress
	if err := json.Unmarshal(content, &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

func services(t *testing.T) []service {
	t.Helper()
	const content = `{"items": [
		{"metadata": {"namespace": "shop", "name": "web"},
		 "spec": {"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80}]}},
		{"metadata": {"namespace": "shop", "name": "web-canary"},
		 "spec": {"clusterIP": "10.96.0.11", "ports": [{"name": "http", "port": 80}]}}]}`
	found, err := parse[service]([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// rendered gives what nginx decides by, for a canary Ingress with these annotations.
func rendered(t *testing.T, annotations map[string]string) string {
	t.Helper()
	full := map[string]string{prefix + "canary": "true"}
	for key, value := range annotations {
		full[prefix+key] = value
	}
	// The canary first: order must not matter.
	rules, problems := compile([]ingress{
		ingressOf(t, "web-canary", "web-canary", full), ingressOf(t, "web", "web", nil),
	}, services(t))
	if len(problems) > 0 || len(rules) != 1 {
		t.Fatalf("%d rules, %v", len(rules), problems)
	}
	return render(rules, settings{directory: "/d", logSocket: "/d/s", port: 80})
}

func TestWeightsBecomeShares(t *testing.T) {
	for _, c := range []struct {
		weight, total, want string
	}{
		{"20", "", "20.00% canary;"},
		{"1", "", "1.00% canary;"},
		{"1", "1000", "0.10% canary;"},
		{"33", "200", "16.50% canary;"},
		{"20", "50", "20.00% canary;"},
		{"100", "", "map canary $to_0"},
		{"0", "", "map main $to_0"},
		{"1000", "1000", "map canary $to_0"},
	} {
		annotations := map[string]string{"canary-weight": c.weight}
		if c.total != "" {
			annotations["canary-weight-total"] = c.total
		}
		if text := rendered(t, annotations); !strings.Contains(text, c.want) {
			t.Errorf("weight %s of %q: %q is not in\n%s", c.weight, c.total, c.want, text)
		}
	}
}

func TestHeaderGoesBeforeCookieAndCookieBeforeWeight(t *testing.T) {
	text := rendered(t, map[string]string{
		"canary-by-header": "X-Canary", "canary-by-cookie": "canary", "canary-weight": "30",
	})
	for _, want := range []string{
		"split_clients $request_id $by_weight_0 {\n    30.00% canary;",
		"map $cookie_canary $by_cookie_0 {\n    \"~^always$\" canary;\n    \"~^never$\" main;\n    default $by_weight_0;",
		"map $http_x_canary $by_header_0 {\n    \"~^always$\" canary;\n    \"~^never$\" main;\n    default $by_cookie_0;",
		"map $by_header_0 $to_0 {\n    canary 10.96.0.11:80;\n    default 10.96.0.10:80;",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestHeaderValueAndPattern(t *testing.T) {
	value := rendered(t, map[string]string{
		"canary-by-header": "X-User", "canary-by-header-value": `a.b"c`, "canary-by-header-pattern": "ignored",
	})
	if !strings.Contains(value, `"~^a\\.b\"c$" canary;`) || strings.Contains(value, "ignored") || strings.Contains(value, "never") {
		t.Errorf("the value alone counts:\n%s", value)
	}
	pattern := rendered(t, map[string]string{"canary-by-header": "X-User", "canary-by-header-pattern": `^\d+$`})
	if !strings.Contains(pattern, "\"\" main;\n    \"~^\\\\d+$\" canary;") {
		t.Errorf("the pattern:\n%s", pattern)
	}
}

func TestWhatCannotBeServedIsToldAndLeavesTheRestAlone(t *testing.T) {
	for _, c := range []struct {
		annotations map[string]string
		want        string
	}{
		{map[string]string{"canary-weight": "101"}, "more than canary-weight-total"},
		{map[string]string{"canary-weight": "half"}, "is no number"},
		{map[string]string{"canary-by-header-value": "x"}, "need canary-by-header"},
		{map[string]string{"canary-by-header": "X-User", "canary-by-header-pattern": "("}, "canary-by-header-pattern"},
		{map[string]string{"canary-by-cookie": "a-b"}, "canary-by-cookie"},
	} {
		full := map[string]string{prefix + "canary": "true"}
		for key, value := range c.annotations {
			full[prefix+key] = value
		}
		rules, problems := compile([]ingress{
			ingressOf(t, "web", "web", nil), ingressOf(t, "web-canary", "web-canary", full),
		}, services(t))
		if len(rules) != 1 || rules[0].second != nil || len(problems) != 1 || !strings.Contains(problems[0].Error(), c.want) {
			t.Errorf("%v: %d rules, %v", c.annotations, len(rules), problems)
		}
	}
	alone := ingressOf(t, "web-canary", "web-canary", map[string]string{prefix + "canary": "true"})
	if rules, problems := compile([]ingress{alone}, services(t)); len(rules) != 0 || len(problems) != 1 {
		t.Errorf("a canary without a main: %d rules, %v", len(rules), problems)
	}
	nowhere := ingressOf(t, "web", "nobody", nil)
	if rules, problems := compile([]ingress{nowhere}, services(t)); len(rules) != 0 || len(problems) != 1 {
		t.Errorf("a service that is not there: %d rules, %v", len(rules), problems)
	}
}

func TestRequestsAreCountedUnderTheControllersNames(t *testing.T) {
	counts := &account{}
	line := `<190>Nov 25 16:00:00 nginx: {"namespace":"shop","ingress":"web","service":"web","canary":"shop-web-canary-80",` +
		`"host":"shop.example","path":"/","method":"GET","status":"200","seconds":"0.020"}`
	counts.add([]byte(line))
	counts.add([]byte(line))
	counts.add([]byte("no account"))
	var text strings.Builder
	counts.write(&text)
	for _, want := range []string{
		`nginx_ingress_controller_requests{canary="shop-web-canary-80",host="shop.example",ingress="web",method="GET",` +
			`namespace="shop",path="/",service="web",status="200"} 2`,
		`status="200",le="0.01"} 0`,
		`status="200",le="0.025"} 2`,
		`status="200",le="+Inf"} 2`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}
