// Package log prints progress lines: what happens, or what is being waited on, with the time since the start.
package log

import (
	"fmt"
	"os"
	"sync"
	"time"
)

var (
	started = time.Now()
	mutex   sync.Mutex
)

// Progress prints one line on standard error, so that standard output stays free for results.
func Progress(format string, arguments ...any) {
	mutex.Lock()
	defer mutex.Unlock()
	fmt.Fprintf(os.Stderr, "[%6.1fs] %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, arguments...))
}
