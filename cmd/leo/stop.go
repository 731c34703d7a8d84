package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// stoppable returns a context that is canceled by the first Ctrl-C, SIGTERM or SIGHUP, so that work can be saved. A
// second Ctrl-C or SIGTERM ends the program at once. A second SIGHUP does not: closing one terminal sends several, one
// from the system to everything in it, and one from the shell to each of its jobs.
//
// A signal that was ignored when the program started (nohup, a job in the background) stays ignored.
func stoppable(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	again, hangUp := make(chan os.Signal, 1), make(chan os.Signal, 1)
	notify(again, os.Interrupt, syscall.SIGTERM)
	notify(hangUp, syscall.SIGHUP)
	go func() {
		select {
		case <-again:
		case <-hangUp:
		case <-ctx.Done():
			return
		}
		signal.Stop(again)
		// The reader of our output got the signal too; a broken pipe must not kill us before the work is saved.
		signal.Ignore(syscall.SIGPIPE)
		cancel()
	}()
	return ctx, func() {
		cancel()
		signal.Stop(again)
		signal.Stop(hangUp)
	}
}

// notify is signal.Notify without the signals that are ignored.
func notify(c chan<- os.Signal, signals ...os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}
