package main

import (
	"context"
	"errors"
)

func runTraffic(ctx context.Context, args []string) error       { return errors.New("not yet") }
func runTrafficReport(ctx context.Context, args []string) error { return errors.New("not yet") }
func runTrafficWorker(ctx context.Context, args []string) error { return errors.New("not yet") }
