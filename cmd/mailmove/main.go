// Command mailmove moves the mail of a domain from one server to another, as a
// configuration describes it, by plan and apply.
//
// One file holds one command. ui.go prints everything that a person sees; this
// file is the only one that ends the process, with a code of the table in exit.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	a := newApp(os.Stdin, os.Stdout, os.Stderr, os.Environ())
	go func() {
		<-signals
		a.ui.interrupted()
		stop()
		<-signals
		os.Exit(exitKilled)
	}()
	os.Exit(a.run(ctx, os.Args))
}
