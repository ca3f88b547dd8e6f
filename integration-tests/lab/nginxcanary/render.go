package main

import (
	"fmt"
	"regexp"
	"strings"
)

// settings are what the configuration needs beside the rules.
type settings struct {
	directory, logSocket string
	port                 int
}

const head = `# Written by nginx-canary-stand-in; overwritten with every change of an Ingress.
daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server_names_hash_bucket_size 256;
  map_hash_bucket_size 256;
  variables_hash_max_size 4096;
  variables_hash_bucket_size 256;
  log_format account escape=json '%[2]s';
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_next_upstream off;
`

// accountFormat is one request as the stand-in counts it.
const accountFormat = `{"namespace":"$rule_namespace","ingress":"$rule_ingress","service":"$rule_service",` +
	`"canary":"$rule_canary","host":"$host","path":"$rule_path","method":"$request_method","status":"$status",` +
	`"seconds":"$request_time"}`

// render writes nginx' configuration for the rules, which are sorted by host.
func render(rules []rule, with settings) string {
	var text strings.Builder
	fmt.Fprintf(&text, head, with.directory, accountFormat)
	for i, one := range rules {
		if one.second != nil {
			renderChoice(&text, i, one)
		}
	}
	renderNobody(&text, with)
	for first := 0; first < len(rules); {
		end := first
		for end < len(rules) && rules[end].host == rules[first].host {
			end++
		}
		renderServer(&text, rules[first:end], first, with)
		first = end
	}
	text.WriteString("}\n")
	return text.String()
}

// renderNobody writes the server for hosts that no Ingress has. It names every variable of the account, which nginx
// must know even while there are no rules.
func renderNobody(text *strings.Builder, with settings) {
	fmt.Fprintf(text, "  server {\n    listen %d default_server;\n    access_log off;\n", with.port)
	for _, variable := range []string{"namespace", "ingress", "service", "canary", "path"} {
		fmt.Fprintf(text, "    set $rule_%s \"\";\n", variable)
	}
	text.WriteString("    location / { return 404; }\n  }\n")
}

// renderChoice writes the variable $choice_N, `canary` or `main`. Header goes before cookie and cookie before weight;
// a header or cookie that says nothing of it leaves the decision to the next.
func renderChoice(text *strings.Builder, number int, one rule) {
	next := renderWeight(text, number, one.how)
	if one.how.cookie != "" {
		fmt.Fprintf(text, "  map $cookie_%s $by_cookie_%d {\n    %s canary;\n    %s main;\n    default %s;\n  }\n",
			one.how.cookie, number, exactly("always"), exactly("never"), next)
		next = fmt.Sprintf("$by_cookie_%d", number)
	}
	if one.how.header != "" {
		variable := "$http_" + strings.ToLower(strings.ReplaceAll(one.how.header, "-", "_"))
		fmt.Fprintf(text, "  map %s $by_header_%d {\n", variable, number)
		switch {
		case one.how.headerValue != "":
			fmt.Fprintf(text, "    %s canary;\n", exactly(one.how.headerValue))
		case one.how.headerPattern != "":
			// Without the header there is nothing to match, whatever the pattern.
			fmt.Fprintf(text, "    \"\" %s;\n    %s canary;\n", next, quote("~"+one.how.headerPattern))
		default:
			fmt.Fprintf(text, "    %s canary;\n    %s main;\n", exactly("always"), exactly("never"))
		}
		fmt.Fprintf(text, "    default %s;\n  }\n", next)
		next = fmt.Sprintf("$by_header_%d", number)
	}
	fmt.Fprintf(text, "  map %s $to_%d {\n    canary %s;\n    default %s;\n  }\n",
		next, number, one.second.address, one.main.address)
	fmt.Fprintf(text, "  map %s $canary_%d {\n    canary %s;\n    default \"\";\n  }\n", next, number, one.second.service)
}

// renderWeight gives what decides by weight: a word, or a variable that it writes.
func renderWeight(text *strings.Builder, number int, how canary) string {
	switch how.weight {
	case 0:
		return "main"
	case how.weightTotal:
		return "canary"
	}
	// Hundredths of a percent are the finest that nginx splits by.
	hundredths := (how.weight*10_000 + how.weightTotal/2) / how.weightTotal
	fmt.Fprintf(text, "  split_clients $request_id $by_weight_%d {\n    %d.%02d%% canary;\n    * main;\n  }\n",
		number, hundredths/100, hundredths%100)
	return fmt.Sprintf("$by_weight_%d", number)
}

// renderServer writes the server of one host. The rules' numbers begin at first.
func renderServer(text *strings.Builder, rules []rule, first int, with settings) {
	name := rules[0].host
	if name == "" {
		name = `""`
	}
	fmt.Fprintf(text, "  server {\n    listen %d;\n    server_name %s;\n    access_log syslog:server=unix:%s,nohostname account;\n",
		with.port, name, with.logSocket)
	for i, one := range rules {
		number := first + i
		to, second := one.main.address, `""`
		if one.second != nil {
			to, second = fmt.Sprintf("$to_%d", number), fmt.Sprintf("$canary_%d", number)
		}
		for _, location := range locations(one) {
			fmt.Fprintf(text, "    location %s {\n", location)
			for _, variable := range [][2]string{
				{"namespace", one.ingress.Namespace}, {"ingress", one.ingress.Name}, {"service", one.serviceName},
				{"canary", second}, {"path", quote(one.path)},
			} {
				fmt.Fprintf(text, "      set $rule_%s %s;\n", variable[0], variable[1])
			}
			// The address is one of a Service: nothing is to be looked up.
			fmt.Fprintf(text, "      set $rule_to %s;\n      proxy_pass http://$rule_to;\n    }\n", to)
		}
	}
	text.WriteString("  }\n")
}

func locations(one rule) []string {
	switch {
	case one.pathType == "Exact":
		return []string{"= " + quote(one.path)}
	case strings.HasSuffix(one.path, "/"):
		return []string{quote(one.path)}
	default:
		// A prefix ends where an element of the path ends.
		return []string{"= " + quote(one.path), quote(one.path + "/")}
	}
}

// exactly matches one value. As a plain string of a map it would match without regard to case.
func exactly(value string) string { return quote("~^" + regexp.QuoteMeta(value) + "$") }

// quote writes a string as nginx reads one.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
