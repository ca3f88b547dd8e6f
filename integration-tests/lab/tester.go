package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"bellwether.local/lab/internal/tester"
)

// runTester serves until it is stopped, or until its standard input ends: none is left behind, however its owner ends.
func runTester(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("lab tester", flag.ContinueOnError)
	address := set.String("listen", "", "address to listen on, port 0 for any; what it is stands in the first line of the output")
	timeout := set.Duration("timeout", 30*time.Second, "how long a command may run")
	if err := set.Parse(args); err != nil {
		return err
	}
	if *address == "" || set.NArg() > 0 {
		return errors.New("give --listen")
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	server := &http.Server{
		Handler:           tester.Handler(tester.Limits{Timeout: *timeout, MostOutput: 16 << 10, MostAtOnce: 8}),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
