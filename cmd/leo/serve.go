package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/catalog"
	"leolm/open"
	"leolm/serve"
	"leolm/tensor"
)

// serveFlags are those of leo serve.
type serveFlags struct {
	listen    string
	model     modelFlags
	loras     []string
	parallel  int
	queue     int
	maxLoaded int
	keepAlive time.Duration
	cacheSize string
	drain     time.Duration
}

func newServeCmd() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve [NAME=]MODEL...",
		Short: "Answer over HTTP: OpenAI's and Ollama's API, and a web page to chat",
		Long: `Answer over HTTP, with OpenAI's and Ollama's API, and a web page to chat.

A MODEL is a folder, a .gguf file or a Hugging Face id; without any, the embedded one answers. Requests name a model by
the name of its file or folder, or by NAME. The first one is loaded at once, the others when they are first asked for.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.listen, "listen", "l", "127.0.0.1:8080", "address to listen on: host:port, or unix:PATH")
	fl.StringArrayVar(&f.loras, "lora", nil, "LoRA adapter of the first model that can be asked for by name, as [NAME=]PATH (repeatable)")
	fl.StringVar(&f.model.tokenizer, "tokenizer", "", "tokenizer file or folder instead of the models' own")
	fl.StringVar(&f.model.template, "template", "", "chat template by name, or a file with a Jinja template, instead of the models' own")
	fl.StringVar(&f.model.packed, "packed", "auto", "keep the repacked weights of large models in files: auto, off")
	fl.StringVar(&f.model.cacheType, "cache-type", "f16", "type of the key/value cache: f32, f16, bf16 or q8_0")
	fl.IntVarP(&f.model.context, "context", "c", 0, "context length in tokens (default: each model's own, at most 8192)")
	fl.IntVarP(&f.model.threads, "threads", "t", 0, "worker threads (default: the processors that this process may use)")
	fl.StringVar(&f.cacheSize, "cache-size", "", "memory for each model's key/value cache, such as 2GiB (default: for --parallel contexts, at most a quarter of the free memory)")
	fl.IntVar(&f.parallel, "parallel", 64, "answers of a model that are written together")
	fl.IntVar(&f.queue, "queue", 256, "requests that may wait for a model; more get status 429")
	fl.IntVar(&f.maxLoaded, "max-models", 0, "models in memory at a time (0: as many as fit)")
	fl.DurationVar(&f.keepAlive, "keep-alive", 0, "unload a model that was idle for so long (0: only when its memory is needed)")
	fl.DurationVar(&f.drain, "drain", 30*time.Second, "after SIGTERM, time for running answers to end")
	completeWith(cmd, "template", templateNames()...)
	completeWith(cmd, "cache-type", "f32", "f16", "bf16", "q8_0")
	return cmd
}

func (f *serveFlags) run(cmd *cobra.Command, args []string) error {
	cfg, err := f.config(args)
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	cfg.Log = slog.New(slog.NewTextHandler(stderr, nil))
	ctx := cmd.Context()
	s, err := serve.New(ctx, cfg)
	if err != nil {
		return err
	}
	ln, err := listen(f.listen)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	err = f.serve(ctx, stderr, s, ln)
	return errors.Join(err, s.Close())
}

// serve answers requests until ctx ends, and then lets those that run come to their end.
func (f *serveFlags) serve(ctx context.Context, stderr io.Writer, s *serve.Server, ln net.Listener) error {
	hs := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() { done <- hs.Serve(ln) }()
	fmt.Fprintf(stderr, "listening on %s\n", address(ln))
	notes, err := s.Load(ctx)
	if err != nil && ctx.Err() == nil {
		return errors.Join(err, hs.Close())
	}
	printNotes(stderr, notes, false)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintf(stderr, "stopping; running answers have %v\n", f.drain)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.drain)
	defer cancel()
	if err := hs.Shutdown(limit); err != nil {
		return errors.Join(hs.Close(), fmt.Errorf("answers were cut off after %v", f.drain))
	}
	return nil
}

// config turns the flags into what the server is to do.
func (f *serveFlags) config(args []string) (serve.Config, error) {
	cfg := serve.Config{Parallel: f.parallel, Queue: f.queue, MaxLoaded: f.maxLoaded, KeepAlive: f.keepAlive}
	cache, err := tensor.ParseDType(f.model.cacheType)
	if err != nil {
		return cfg, usageError{fmt.Errorf("--cache-type: %w", err)}
	}
	if err := checkThreads("--threads", f.model.threads); err != nil {
		return cfg, err
	}
	for name, n := range map[string]int{"--context": f.model.context, "--parallel": f.parallel, "--queue": f.queue, "--max-models": f.maxLoaded} {
		if n < 0 {
			return cfg, usageError{fmt.Errorf("%s must not be negative", name)}
		}
	}
	opt := open.Options{
		Template: f.model.template, Tokenizer: f.model.tokenizer, Threads: f.model.threads, Context: f.model.context,
		CacheType: cache, Packed: f.model.packed,
	}
	if f.cacheSize != "" {
		if opt.CacheBytes, err = parseBytes(f.cacheSize); err != nil {
			return cfg, usageError{fmt.Errorf("--cache-size: %w", err)}
		}
	}
	if len(args) == 0 {
		args = []string{""}
	}
	for _, arg := range args {
		name, path := named(arg)
		cfg.Models = append(cfg.Models, serve.Source{Name: name, Arg: path, Options: opt})
	}
	for _, l := range f.loras {
		name, path := named(l)
		cfg.Models[0].Adapters = append(cfg.Models[0].Adapters, serve.AdapterSource{Name: name, AdapterSpec: catalog.AdapterSpec{Path: path, Strength: 1}})
	}
	return cfg, nil
}

// named splits NAME=VALUE; without a name it is "".
func named(arg string) (name, value string) {
	if name, value, ok := strings.Cut(arg, "="); ok && !strings.ContainsAny(name, `/\`) {
		return name, value
	}
	return "", arg
}

// listen opens host:port or unix:PATH.
func listen(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return serve.ListenUnix(path)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usageError{fmt.Errorf("--listen %q: write host:port, such as 127.0.0.1:8080 or [::1]:8080", address)}
	}
	return net.Listen("tcp", net.JoinHostPort(host, port))
}

// address is how a listener is reached.
func address(ln net.Listener) string {
	if ln.Addr().Network() == "unix" {
		return "unix:" + ln.Addr().String()
	}
	return "http://" + ln.Addr().String()
}

// parseBytes reads a size such as 512MiB or 2GiB.
func parseBytes(s string) (int64, error) {
	number := strings.TrimRight(s, "BKMGTkib")
	unit := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s[len(number):]), "B"), "I"))
	shift, ok := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[unit]
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || v <= 0 || v > 1<<20 && shift == 40 {
		return 0, fmt.Errorf("%q is no size; write 512MiB or 2GiB", s)
	}
	return int64(v * float64(int64(1)<<shift)), nil
}
