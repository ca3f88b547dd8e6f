package main

import (
	"regexp"
	"strconv"
	"strings"
)

// Places in what Helm says of templates: `web/templates/a.yaml:12:24` and `(web/templates/a.yaml:5)`.
var places = regexp.MustCompile(`([A-Za-z0-9_][^\s:()"]*\.[A-Za-z]+):(\d+)`)

// templateFailure finds where a template is wrong. Of templates that include each other Helm names each; the last is
// the one that is wrong.
func templateFailure(chartName string, err error) *Failure {
	failure := &Failure{Reason: ReasonTemplate, Message: err.Error()}
	found := places.FindAllStringSubmatch(failure.Message, -1)
	if len(found) > 0 {
		last := found[len(found)-1]
		failure.File = inChart(chartName, last[1])
		failure.Line, _ = strconv.Atoi(last[2])
	}
	return failure
}

// brokenManifest finds the template whose output is no YAML. The line that is named is one of what it renders.
func brokenManifest(chartName string, err error) *Failure {
	message := err.Error()
	failure := &Failure{Reason: ReasonBadYAML, Message: message}
	if rest, found := strings.CutPrefix(message, "YAML parse error on "); found {
		if file, why, split := strings.Cut(rest, ": "); split {
			failure.File = inChart(chartName, file)
			failure.Message = "what it renders is no YAML: " + why
		}
	}
	return failure
}

// inChart names a file as its author does: without the chart's own name, which Helm puts before it.
func inChart(chartName, file string) string {
	return strings.TrimPrefix(file, chartName+"/")
}
