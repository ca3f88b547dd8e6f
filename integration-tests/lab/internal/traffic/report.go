package traffic

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
)

// Report adds up the lines of a file that lie in a span of time.
type Report struct {
	totals map[outcome]int
	errors map[string]int
	all    int
}

type outcome struct {
	cluster, version string
	status           int
}

// Read reads a report; the span begins at `from` and ends before `to`, in milliseconds, where 0 means no limit. A last
// line that is still being written is left out.
func Read(input io.Reader, from, to int64) (Report, error) {
	report := Report{totals: map[outcome]int{}, errors: map[string]int{}}
	lines := bufio.NewReader(input)
	for {
		text, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return report, nil
		}
		if err != nil {
			return report, err
		}
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			return report, fmt.Errorf("not a line of a traffic file: %q: %w", text, err)
		}
		if line.Time < from || (to > 0 && line.Time >= to) {
			continue
		}
		report.totals[outcome{line.Cluster, line.Version, line.Status}] += line.Count
		report.all += line.Count
		if line.Error != "" {
			report.errors[line.Error] += line.Count
		}
	}
}

// String is the report as people read it.
func (r Report) String() string {
	outcomes := make([]outcome, 0, len(r.totals))
	for o := range r.totals {
		outcomes = append(outcomes, o)
	}
	sort.Slice(outcomes, func(i, j int) bool {
		a, b := outcomes[i], outcomes[j]
		return fmt.Sprintf("%s %s %03d", a.cluster, a.version, a.status) < fmt.Sprintf("%s %s %03d", b.cluster, b.version, b.status)
	})
	var text strings.Builder
	fmt.Fprintf(&text, "%-8s %-10s %-10s %10s %8s\n", "cluster", "version", "status", "requests", "share")
	for _, o := range outcomes {
		version, status := o.version, fmt.Sprint(o.status)
		if version == "" {
			version = "-"
		}
		if o.status == 0 {
			status = "no answer"
		}
		count := r.totals[o]
		fmt.Fprintf(&text, "%-8s %-10s %-10s %10d %7.2f%%\n", o.cluster, version, status, count, 100*float64(count)/float64(r.all))
	}
	fmt.Fprintf(&text, "%d requests\n", r.all)
	for message, count := range r.errors {
		fmt.Fprintf(&text, "%d times or less: %s\n", count, message)
	}
	return text.String()
}
