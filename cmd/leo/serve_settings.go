package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"leolm/catalog"
	"leolm/device/vulkan"
	"leolm/internal/recipe"
	"leolm/open"
	"leolm/serve"
	"leolm/tensor"
)

// serveSettings say what leo serve does. Each field with a help text is a key of the configuration file, a flag of the same
// name with dashes, and an environment variable: LEO_SERVE_ and the key in capitals.
type serveSettings struct {
	Listen     string `yaml:"listen" short:"l" default:"127.0.0.1:8080" help:"address to listen on: host:port, or unix:PATH"`
	PathPrefix string `yaml:"path_prefix" help:"path below which a proxy passes requests on, such as /llm"`

	Models    []modelSettings `yaml:"models"`
	Tokenizer string          `yaml:"tokenizer" help:"tokenizer file or folder instead of the models' own"`
	Template  string          `yaml:"template" help:"chat template by name, or a file with a Jinja template, instead of the models' own"`
	Packed    string          `yaml:"packed" default:"auto" help:"keep the repacked weights of large models in files: auto, off"`
	CacheType string          `yaml:"cache_type" default:"f16" help:"type of the key/value cache: f32, f16, bf16 or q8_0"`
	CacheSize string          `yaml:"cache_size" help:"memory for each model's key/value cache, such as 2GiB (default: for --parallel contexts, at most a quarter of the free memory)"`
	Device    string          `yaml:"device" default:"cpu" help:"where models run: cpu, gpu or gpu:N (through Vulkan), or auto (a GPU if there is one)"`
	GPULayers string          `yaml:"gpu_layers" default:"all" help:"how many of the last layers a GPU runs, the output counted as one, and the processor the rest: a number, auto (as many as fit) or all"`
	GPUMemory string          `yaml:"gpu_memory" help:"the most that all models together take of a GPU's memory, such as 6GiB (default: what is free)"`
	Context   int             `yaml:"context" short:"c" check:"min=0" help:"context length in tokens (default: each model's own, at most 8192)"`
	Threads   int             `yaml:"threads" short:"t" check:"min=0,max=1024" help:"worker threads (default: the processors that this process may use)"`
	MaxModels int             `yaml:"max_models" check:"min=0" help:"models in memory at a time (0: as many as fit)"`
	KeepAlive time.Duration   `yaml:"keep_alive" help:"unload a model that was idle for so long (0: only when its memory is needed)"`

	Parallel       int           `yaml:"parallel" default:"64" check:"min=1" help:"answers of a model that are written together"`
	Queue          int           `yaml:"queue" default:"256" check:"min=1" help:"requests that may wait for a model; more get status 429"`
	QueueTokens    int           `yaml:"queue_tokens" check:"min=0" help:"tokens of prompts that may wait for a model (0: any number)"`
	MaxConnections int           `yaml:"max_connections" default:"16384" check:"min=1" help:"open connections; more wait"`
	MaxBody        string        `yaml:"max_body" default:"8MiB" help:"largest body of a request"`
	BodyTimeout    time.Duration `yaml:"body_timeout" default:"1m" help:"time for a client to send a body"`
	WriteTimeout   time.Duration `yaml:"write_timeout" default:"30s" help:"time for a client to take a piece of an answer"`
	DrainDelay     time.Duration `yaml:"drain_delay" help:"after SIGTERM, time in which requests are still taken while /readyz fails"`
	Drain          time.Duration `yaml:"drain" default:"30s" help:"after that, time for running answers to end"`

	Keys       string   `yaml:"keys" help:"file of API keys that requests need; leo serve key makes them"`
	NoKeys     bool     `yaml:"no_keys" help:"let other machines ask without a key"`
	Host       []string `yaml:"host" help:"name by which the server is called, beside localhost (repeatable)"`
	CORSOrigin []string `yaml:"cors_origin" help:"origin whose pages may use the server, such as https://example.org (repeatable)"`
	TLSCert    string   `yaml:"tls_cert" help:"certificate for TLS, as PEM"`
	TLSKey     string   `yaml:"tls_key" help:"its key"`

	MetricsNames  string `yaml:"metrics_names" default:"leo" check:"oneof=leo|vllm" help:"names of the models' metrics: leo, or vllm for the Gateway API inference extension"`
	OpenMetrics   bool   `yaml:"open_metrics" help:"answer /metrics without a key"`
	Debug         bool   `yaml:"debug" help:"show profiles of the program below /debug/pprof/ to administrators' keys"`
	LogLevel      string `yaml:"log_level" default:"info" check:"oneof=debug|info|warn|error" help:"least level of log records: debug, info, warn or error"`
	LogFormat     string `yaml:"log_format" default:"text" check:"oneof=text|json" help:"form of log records: text or json"`
	LogTexts      string `yaml:"log_texts" help:"file that gets what users and models write; without it, no text is logged"`
	LogTextsMax   string `yaml:"log_texts_max" default:"64MiB" help:"size at which that file stops growing"`
	TraceEndpoint string `yaml:"trace_endpoint" help:"URL that gets OpenTelemetry traces over OTLP/HTTP, such as http://localhost:4318/v1/traces"`
}

// modelSettings are a model of the configuration file. What is left out is that of all models.
type modelSettings struct {
	Name      string            `yaml:"name"`
	Path      string            `yaml:"path"`
	Tokenizer string            `yaml:"tokenizer"`
	Template  string            `yaml:"template"`
	CacheType string            `yaml:"cache_type"`
	CacheSize string            `yaml:"cache_size"`
	Device    string            `yaml:"device"`
	GPULayers string            `yaml:"gpu_layers"`
	Context   int               `yaml:"context" check:"min=0"`
	Adapters  []adapterSettings `yaml:"adapters"`
}

// adapterSettings are a LoRA adapter that can be asked for by name.
type adapterSettings struct {
	Name     string  `yaml:"name"`
	Path     string  `yaml:"path" check:"required"`
	Strength float64 `yaml:"strength" default:"1"`
}

// Validate implements recipe.Validator.
func (s *serveSettings) Validate(fail func(key, format string, args ...any)) {
	if (s.TLSCert == "") != (s.TLSKey == "") {
		fail("tls_cert", "a certificate and its key belong together: tls_cert and tls_key")
	}
	if s.Debug && s.Keys == "" {
		fail("debug", "profiles are for administrators: keys are needed")
	}
	for key, text := range map[string]string{"cache_size": s.CacheSize, "gpu_memory": s.GPUMemory, "max_body": s.MaxBody, "log_texts_max": s.LogTextsMax} {
		if _, err := parseBytes(text); text != "" && err != nil {
			fail(key, "%v", err)
		}
	}
	if _, err := tensor.ParseDType(s.CacheType); err != nil {
		fail("cache_type", "%v", err)
	}
	for key, d := range map[string]time.Duration{"drain": s.Drain, "drain_delay": s.DrainDelay, "keep_alive": s.KeepAlive, "body_timeout": s.BodyTimeout, "write_timeout": s.WriteTimeout} {
		if d < 0 {
			fail(key, "a time must not be negative")
		}
	}
	if s.TraceEndpoint != "" {
		if u, err := url.Parse(s.TraceEndpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			fail("trace_endpoint", "want a URL such as http://localhost:4318/v1/traces")
		}
	}
	s.checkGPU(fail)
	for i, m := range s.Models {
		if _, err := parseBytes(m.CacheSize); m.CacheSize != "" && err != nil {
			fail(fmt.Sprintf("models[%d].cache_size", i), "%v", err)
		}
		if _, err := tensor.ParseDType(m.CacheType); m.CacheType != "" && err != nil {
			fail(fmt.Sprintf("models[%d].cache_type", i), "%v", err)
		}
	}
}

// checkGPU checks where models run.
func (s *serveSettings) checkGPU(fail func(key, format string, args ...any)) {
	check := func(at, on, layers string) {
		if err := open.CheckDevice(on); err != nil {
			fail(at+"device", "%v", err)
		}
		if err := open.CheckGPULayers(layers); err != nil {
			fail(at+"gpu_layers", "%v", err)
		} else if on == open.OnCPU && layers != open.AllLayers && layers != "0" {
			fail(at+"gpu_layers", "layers for a GPU need device: %s", open.OnGPU)
		}
	}
	check("", s.Device, s.GPULayers)
	used := s.Device != open.OnCPU
	for i, m := range s.Models {
		check(fmt.Sprintf("models[%d].", i), cmp.Or(m.Device, s.Device), cmp.Or(m.GPULayers, s.GPULayers))
		used = used || cmp.Or(m.Device, s.Device) != open.OnCPU
	}
	if s.GPUMemory != "" && !used {
		fail("gpu_memory", "a limit of a GPU's memory needs device: %s", open.OnGPU)
	}
}

// option is a field of serveSettings that is a flag.
type option struct {
	key, flag, env string
	field          reflect.StructField
}

func serveOptions() []option {
	var out []option
	t := reflect.TypeFor[serveSettings]()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("help") == "" {
			continue
		}
		key := f.Tag.Get("yaml")
		out = append(out, option{key, strings.ReplaceAll(key, "_", "-"), "LEO_SERVE_" + strings.ToUpper(key), f})
	}
	return out
}

// addServeFlags makes a flag of each option. Its values are read from the set of flags later.
func addServeFlags(fl *pflag.FlagSet) {
	for _, o := range serveOptions() {
		short, preset, help := o.field.Tag.Get("short"), o.field.Tag.Get("default"), o.field.Tag.Get("help")
		switch o.field.Type.Kind() {
		case reflect.String:
			fl.StringP(o.flag, short, preset, help)
		case reflect.Int:
			n := 0
			_ = json.Unmarshal([]byte(preset), &n) // "" is 0
			fl.IntP(o.flag, short, n, help)
		case reflect.Int64:
			d, _ := time.ParseDuration(cmp.Or(preset, "0"))
			fl.DurationP(o.flag, short, d, help)
		case reflect.Bool:
			fl.BoolP(o.flag, short, false, help)
		case reflect.Slice:
			fl.StringArrayP(o.flag, short, nil, help)
		}
	}
}

// loadServeSettings reads the configuration file at path, if there is one; then come the environment and, above all, those
// flags that fl has.
func loadServeSettings(path string, fl *pflag.FlagSet, environ []string) (*serveSettings, error) {
	var sets []string
	from := map[string]string{} // key → what to call it in an error
	set := func(o option, name, value string) {
		sets = append(sets, o.key+"="+value)
		from[o.key] = name
	}
	if err := envSettings(environ, set); err != nil {
		return nil, err
	}
	for _, o := range serveOptions() {
		f := fl.Lookup(o.flag)
		if f == nil || !f.Changed {
			continue
		}
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			text, err := json.Marshal(list.GetSlice())
			if err != nil {
				return nil, err
			}
			value = string(text)
		}
		set(o, "--"+o.flag, value)
	}
	s := &serveSettings{}
	err := recipe.Load(path, sets, s)
	var wrong recipe.Errors
	if errors.As(err, &wrong) {
		for _, e := range wrong {
			if name, ok := from[e.Path]; ok && (e.File == recipe.Assignment || e.File == "recipe") {
				e.File, e.Path, e.Line, e.Snippet = name, "", 0, ""
			}
		}
		return nil, usageError{wrong}
	}
	return s, err
}

// byKubernetes are variables that Kubernetes sets for a Service with the name leo-serve.
var byKubernetes = regexp.MustCompile(`^LEO_SERVE_(SERVICE_|PORT(_|$))`)

// envSettings finds the settings of the environment. A variable that nothing reads is an error: it was meant for something.
func envSettings(environ []string, set func(o option, name, value string)) error {
	options := serveOptions()
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "LEO_SERVE_") || byKubernetes.MatchString(name) {
			continue
		}
		i := slices.IndexFunc(options, func(o option) bool { return o.env == name })
		if i < 0 {
			var names []string
			for _, o := range options {
				names = append(names, o.env)
			}
			return usageError{fmt.Errorf("the environment variable %s is none of %s", name, strings.Join(names, ", "))}
		}
		if options[i].field.Type.Kind() == reflect.Slice {
			text, err := json.Marshal(strings.Split(value, ","))
			if err != nil {
				return err
			}
			value = string(text)
		}
		set(options[i], name, value)
	}
	return nil
}

// shown is s without what must not be printed.
func (s serveSettings) shown() serveSettings {
	if u, err := url.Parse(s.TraceEndpoint); err == nil && u.User != nil {
		s.TraceEndpoint = u.Redacted()
	}
	return s
}

// named splits NAME=VALUE; without a name it is "".
func named(arg string) (name, value string) {
	if name, value, ok := strings.Cut(arg, "="); ok && !strings.ContainsAny(name, `/\`) {
		return name, value
	}
	return "", arg
}

// take puts the models of the command line in place of those of the file, and adds adapters to the first one.
func (s *serveSettings) take(args, loras []string) {
	if len(args) > 0 {
		s.Models = nil
	}
	for _, arg := range args {
		name, path := named(arg)
		s.Models = append(s.Models, modelSettings{Name: name, Path: path})
	}
	if len(s.Models) == 0 {
		s.Models = []modelSettings{{}}
	}
	for _, l := range loras {
		name, path := named(l)
		s.Models[0].Adapters = append(s.Models[0].Adapters, adapterSettings{Name: name, Path: path, Strength: 1})
	}
}

// sources are the models to serve.
func (s *serveSettings) sources() ([]serve.Source, error) {
	var out []serve.Source
	var memory *vulkan.Budget
	if s.GPUMemory != "" {
		n, err := parseBytes(s.GPUMemory)
		if err != nil {
			return nil, err
		}
		memory = vulkan.NewBudget(n)
	}
	for _, m := range s.Models {
		opt := open.Options{
			Template: cmp.Or(m.Template, s.Template), Tokenizer: cmp.Or(m.Tokenizer, s.Tokenizer), Threads: s.Threads,
			Context: cmp.Or(m.Context, s.Context), Packed: s.Packed,
			On: cmp.Or(m.Device, s.Device), GPULayers: cmp.Or(m.GPULayers, s.GPULayers), GPUMemory: memory,
		}
		var err error
		if opt.CacheType, err = tensor.ParseDType(cmp.Or(m.CacheType, s.CacheType)); err != nil {
			return nil, err
		}
		if size := cmp.Or(m.CacheSize, s.CacheSize); size != "" {
			if opt.CacheBytes, err = parseBytes(size); err != nil {
				return nil, err
			}
		}
		src := serve.Source{Name: m.Name, Arg: m.Path, Options: opt}
		for _, a := range m.Adapters {
			src.Adapters = append(src.Adapters, serve.AdapterSource{Name: a.Name, AdapterSpec: catalog.AdapterSpec{Path: a.Path, Strength: a.Strength}})
		}
		out = append(out, src)
	}
	return out, nil
}
