package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"leolm/internal/recipe"
	"leolm/open"
	"leolm/serve"
	"leolm/serve/apikey"
)

func newServeCmd() *cobra.Command {
	var config string
	var printConfig bool
	var loras []string
	cmd := &cobra.Command{
		Use:   "serve [NAME=]MODEL...",
		Short: "Answer over HTTP: OpenAI's and Ollama's API, and a web page to chat",
		Long: `Answer over HTTP, with OpenAI's and Ollama's API, and a web page to chat.

A MODEL is a folder, a .gguf file or a Hugging Face id; without any, the embedded one answers. Requests name a model by
the name of its file or folder, or by NAME. The first one is loaded at once, the others when they are first asked for.

Every flag is also a key of the file of --config, with underscores, and an environment variable: --drain-delay is
drain_delay and LEO_SERVE_DRAIN_DELAY. Flags come before the environment, and the environment before the file.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := loadServeSettings(config, cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			s.take(args, loras)
			if printConfig {
				return recipe.Print(cmd.OutOrStdout(), s.shown())
			}
			return s.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&config, "config", "", "YAML file with settings")
	fl.BoolVar(&printConfig, "print-config", false, "print the settings that count, and end")
	fl.StringArrayVar(&loras, "lora", nil, "LoRA adapter of the first model that can be asked for by name, as [NAME=]PATH (repeatable)")
	addServeFlags(fl)
	completeWith(cmd, "template", templateNames()...)
	completeWith(cmd, "cache-type", "f32", "f16", "bf16", "q8_0")
	completeWith(cmd, "device", open.OnCPU, open.OnGPU, open.OnAuto)
	completeWith(cmd, "gpu-layers", open.AutoLayers, open.AllLayers)
	completeWith(cmd, "metrics-names", serve.LeoNames, serve.VLLMNames)
	completeWith(cmd, "log-format", "text", "json")
	completeWith(cmd, "log-level", "debug", "info", "warn", "error")
	cmd.AddCommand(newServeKeyCmd(), newServeHealthCmd())
	return cmd
}

// run serves until ctx ends.
func (s *serveSettings) run(ctx context.Context, stderr io.Writer) (err error) {
	cfg, closeAll, err := s.config(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	how := serve.Listening{MaxConnections: s.MaxConnections, DrainDelay: s.DrainDelay, Drain: s.Drain}
	if s.TLSCert != "" {
		if how.Certificates, err = serve.OpenCertificates(s.TLSCert, s.TLSKey, cfg.Log); err != nil {
			return err
		}
	}
	ln, err := listen(s.Listen)
	if err != nil {
		return err
	}
	unix := ln.Addr().Network() == "unix"
	cfg.Local = !unix && loopback(ln.Addr())
	if !unix && !cfg.Local && cfg.Keys == nil && !s.NoKeys {
		return errors.Join(usageError{fmt.Errorf("--listen %s lets other machines ask, and without keys anybody on them: make keys with leo serve key and name their file with --keys, or say --no-keys", s.Listen)}, ln.Close())
	}
	server, err := serve.New(ctx, cfg)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	fmt.Fprintf(stderr, "listening on %s\n", address(ln, how.Certificates != nil)+s.PathPrefix)
	return errors.Join(s.serve(ctx, stderr, server, ln, how), server.Close())
}

// serve answers requests, and loads the first model meanwhile.
func (s *serveSettings) serve(ctx context.Context, stderr io.Writer, server *serve.Server, ln net.Listener, how serve.Listening) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() {
		notes, err := server.Load(ctx)
		if err == nil {
			printNotes(stderr, notes, false)
			fmt.Fprintln(stderr, "ready")
		} else if ctx.Err() != nil {
			err = nil
		} else {
			cancel()
		}
		loaded <- err
	}()
	err := server.Serve(ctx, ln, how)
	cancel()
	return errors.Join(<-loaded, err)
}

// config opens what the settings name. closeAll closes it again.
func (s *serveSettings) config(ctx context.Context, stderr io.Writer) (cfg serve.Config, closeAll func() error, err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return cfg, nil, err
	}
	opt := &slog.HandlerOptions{Level: level}
	log := slog.New(slog.NewTextHandler(stderr, opt))
	if s.LogFormat == "json" {
		log = slog.New(slog.NewJSONHandler(stderr, opt))
	}
	cfg = serve.Config{
		MaxLoaded: s.MaxModels, KeepAlive: s.KeepAlive, Parallel: s.Parallel, Queue: s.Queue, QueueTokens: s.QueueTokens,
		BodyTimeout: s.BodyTimeout, WriteTimeout: s.WriteTimeout, Log: log, MetricNames: s.MetricsNames, OpenMetrics: s.OpenMetrics,
		Debug: s.Debug, Hosts: s.Host, Origins: s.CORSOrigin, PathPrefix: s.PathPrefix,
	}
	if cfg.Models, err = s.sources(); err != nil {
		return cfg, nil, err
	}
	for i := range cfg.Models {
		cfg.Models[i].Options.Ranks = ranksOf(ctx)
	}
	if cfg.MaxBody, err = parseBytes(s.MaxBody); err != nil {
		return cfg, nil, err
	}
	if s.Keys != "" {
		if cfg.Keys, err = apikey.Open(s.Keys, func(err error) { log.Error("the changed file of keys is not used", "error", err) }); err != nil {
			return cfg, nil, err
		}
	}
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	if s.LogTexts != "" {
		limit, err := parseBytes(s.LogTextsMax)
		if err != nil {
			return cfg, nil, err
		}
		if cfg.Texts, err = serve.OpenTextLog(s.LogTexts, limit); err != nil {
			return cfg, nil, err
		}
		closers = append(closers, cfg.Texts.Close)
		log.Warn("what users and models write is logged", "file", s.LogTexts)
	}
	tracer, stop, err := newTracer(ctx, s.TraceEndpoint, log)
	if err != nil {
		return cfg, nil, errors.Join(err, closeAll())
	}
	if tracer != nil {
		cfg.Tracer = tracer
		closers = append(closers, stop)
	}
	return cfg, closeAll, nil
}

// loopback reports whether only this machine reaches an address.
func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
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
func address(ln net.Listener, secure bool) string {
	if ln.Addr().Network() == "unix" {
		return "unix:" + ln.Addr().String()
	}
	if secure {
		return "https://" + ln.Addr().String()
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
