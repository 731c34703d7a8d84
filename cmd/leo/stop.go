package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// stoppable returns a context that ends with the first Ctrl-C, SIGTERM or SIGHUP, so that work can be saved. Who asks
// twice is not kept waiting: the second Ctrl-C or SIGTERM ends the program. SIGHUP doesn't count twice, for one closed
// terminal sends several: the system one to everything in it, and the shell one to each of its jobs.
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
		// Who read the output got the signal too: its end is no reason to die before the work is saved.
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
