package serve

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"leolm/infer"
)

// The metrics of models have two sets of names.
const (
	LeoNames = "leo" // leo_requests_waiting and so on, with the label model
	// VLLMNames are those of vLLM, with the label model_name, for what knows them: the Gateway API inference extension,
	// dashboards. A model and its adapters are one model there.
	VLLMNames = "vllm"
)

// dialect is a set of names for the metrics of models; "" is a metric that the set lacks.
type dialect struct {
	label string

	waiting, waitingTokens, running                        string
	cacheUse, pages, pagesUsed, pagesKept, cacheConfig     string
	asked, found, preempted, passes, passTokens, batchSize string
	prompt, generated, ended, endedLabel                   string
	first, between, duration                               string
	loaded, bytes, adapters                                string
}

var dialects = map[string]dialect{
	LeoNames: {
		label: "model", waiting: "leo_requests_waiting", waitingTokens: "leo_waiting_prompt_tokens", running: "leo_requests_running",
		cacheUse: "leo_cache_usage_ratio", pages: "leo_cache_pages", pagesUsed: "leo_cache_pages_used", pagesKept: "leo_cache_pages_kept",
		asked: "leo_prefix_asked_tokens_total", found: "leo_prefix_hit_tokens_total", preempted: "leo_preemptions_total",
		passes: "leo_passes_total", passTokens: "leo_pass_tokens_total", batchSize: "leo_batch_size",
		prompt: "leo_prompt_tokens_total", generated: "leo_generated_tokens_total", ended: "leo_answers_total", endedLabel: "finish_reason",
		first: "leo_time_to_first_token_seconds", between: "leo_time_between_tokens_seconds", duration: "leo_request_duration_seconds",
		loaded: "leo_model_loaded", bytes: "leo_model_bytes",
	},
	VLLMNames: {
		label: "model_name", waiting: "vllm:num_requests_waiting", running: "vllm:num_requests_running",
		cacheUse: "vllm:kv_cache_usage_perc", cacheConfig: "vllm:cache_config_info",
		asked: "vllm:prefix_cache_queries_total", found: "vllm:prefix_cache_hits_total", preempted: "vllm:num_preemptions_total",
		passes: "leo_passes_total", passTokens: "leo_pass_tokens_total", batchSize: "leo_batch_size",
		prompt: "vllm:prompt_tokens_total", generated: "vllm:generation_tokens_total", ended: "vllm:request_success_total", endedLabel: "finished_reason",
		first: "vllm:time_to_first_token_seconds", between: "vllm:inter_token_latency_seconds", duration: "vllm:e2e_request_latency_seconds",
		loaded: "leo_model_loaded", bytes: "leo_model_bytes", adapters: "vllm:lora_requests_info",
	},
}

// metrics are what the server measures, in a registry of its own. No label has a value that a client chooses.
type metrics struct {
	names    dialect
	registry *prometheus.Registry
	requests *prometheus.CounterVec // by route, status and model
	inFlight prometheus.Gauge
	bytes    prometheus.Counter

	duration, first, between *prometheus.HistogramVec
	prompt, generated, ended *prometheus.CounterVec

	models sync.Map // name → *modelMetrics
	known  func(name string) string
}

// modelMetrics are those of one model.
type modelMetrics struct {
	first, between    prometheus.Observer
	prompt, generated prometheus.Counter
	finished          func(reason string)
}

// otherModel stands for names that no model has.
const otherModel = "other"

// newMetrics makes the metrics of a server; known turns the name of a model into the one that is shown.
func newMetrics(s *Server, names string) *metrics {
	d := dialects[names]
	m := &metrics{names: d, registry: prometheus.NewRegistry(), known: s.models.metricName(d.adapters != "")}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, from, factor float64, n int, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(from, factor, n)}, labels)
	}
	m.requests = counter("leo_http_requests_total", "Requests that have ended.", "route", "status", "model")
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{Name: "leo_http_requests_in_flight", Help: "Requests that are being answered."})
	m.bytes = prometheus.NewCounter(prometheus.CounterOpts{Name: "leo_http_response_bytes_total", Help: "Bytes of responses."})
	m.duration = histogram(d.duration, "Seconds from a request to the end of its response, where a model answered.", 0.005, 2, 18, d.label)
	m.first = histogram(d.first, "Seconds from a request to the first token of its answer.", 0.002, 2, 17, d.label)
	m.between = histogram(d.between, "Seconds between two tokens of an answer.", 0.0005, 2, 14, d.label)
	m.prompt = counter(d.prompt, "Tokens of prompts, those from the cache included.", d.label)
	m.generated = counter(d.generated, "Tokens of answers.", d.label)
	m.ended = counter(d.ended, "Answers that have come to their end.", d.label, d.endedLabel)
	m.registry.MustRegister(m.requests, m.inFlight, m.bytes, m.duration, m.first, m.between, m.prompt, m.generated, m.ended,
		newModelCollector(s.models, d), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, e := range s.models.entries {
		m.model(e.name) // all series exist from the beginning
	}
	return m
}

// metricName returns the function that turns the name of a model into the value of a label: that of a configured model, or
// with families, of the model below an adapter.
func (r *registry) metricName(families bool) func(string) string {
	names := map[string]string{}
	for _, e := range r.entries {
		names[e.name] = e.name
		if families && e.base != nil {
			names[e.name] = e.base.name
		}
	}
	return func(name string) string {
		if shown, ok := names[name]; ok {
			return shown
		}
		return otherModel
	}
}

// model returns the metrics of the model with this name.
func (m *metrics) model(name string) *modelMetrics {
	name = m.known(name)
	if mm, ok := m.models.Load(name); ok {
		return mm.(*modelMetrics)
	}
	mm, _ := m.models.LoadOrStore(name, &modelMetrics{
		first: m.first.WithLabelValues(name), between: m.between.WithLabelValues(name),
		prompt: m.prompt.WithLabelValues(name), generated: m.generated.WithLabelValues(name),
		finished: func(reason string) { m.ended.WithLabelValues(name, reason).Inc() },
	})
	return mm.(*modelMetrics)
}

// finished counts an exchange. Probes are counted, but not among the durations.
func (m *metrics) finished(x *exchange, status int, took time.Duration) {
	model := ""
	if x.model != "" {
		model = m.known(x.model)
		m.duration.WithLabelValues(model).Observe(took.Seconds())
	}
	m.requests.WithLabelValues(x.routeName(), strconv.Itoa(status), model).Inc()
	m.bytes.Add(float64(x.w.bytes))
}

// showMetrics answers GET /metrics.
func (s *Server) showMetrics() http.Handler {
	return promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true, DisableCompression: false,
	})
}

// modelCollector reports the schedulers when the metrics are asked for.
type modelCollector struct {
	r     *registry
	d     dialect
	descs map[string]*prometheus.Desc
}

func newModelCollector(r *registry, d dialect) *modelCollector {
	c := &modelCollector{r: r, d: d, descs: map[string]*prometheus.Desc{}}
	add := func(name, help string, labels ...string) {
		if name != "" {
			c.descs[name] = prometheus.NewDesc(name, help, labels, nil)
		}
	}
	add(d.waiting, "Requests that wait for a place in the batch.", d.label)
	add(d.waitingTokens, "Tokens of the prompts of waiting requests.", d.label)
	add(d.running, "Requests in the batch.", d.label)
	add(d.cacheUse, "Part of the key/value cache that requests use, from 0 to 1.", d.label)
	add(d.pages, "Pages of the key/value cache.", d.label)
	add(d.pagesUsed, "Pages of the key/value cache that requests use.", d.label)
	add(d.pagesKept, "Pages of the key/value cache kept for prompts that begin the same.", d.label)
	add(d.asked, "Tokens of prompts that were looked for in the cache.", d.label)
	add(d.found, "Tokens of prompts that were found in the cache.", d.label)
	add(d.preempted, "Requests that gave way to others and were computed again.", d.label)
	add(d.passes, "Forward passes.", d.label)
	add(d.passTokens, "Tokens of all forward passes.", d.label)
	add(d.batchSize, "Requests in a forward pass.", d.label)
	add(d.loaded, "1 if the model is in memory.", d.label)
	add(d.bytes, "Bytes of the model's weights in memory.", d.label)
	if d.cacheConfig != "" {
		add(d.cacheConfig, "Pages of the key/value cache and their tokens.", d.label, "block_size", "num_gpu_blocks")
	}
	if d.adapters != "" {
		add(d.adapters, "Adapters with requests; the value is the time.", "max_lora", "running_lora_adapters", "waiting_lora_adapters")
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *modelCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// reading is the state of a model, or of one with its adapters.
type reading struct {
	name     string
	stats    infer.SchedulerStats
	loaded   bool
	bytes    int64
	adapters []string // that can be asked for
	running  []string
	waiting  []string
}

// readings returns the state of each model; with families, adapters are part of theirs.
func (r *registry) readings(families bool) []*reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*reading
	of := map[*entry]*reading{}
	for _, e := range r.entries {
		st := e.past
		if e.m != nil {
			st = plus(st, e.m.sched.Stats())
		}
		rd := of[e.base]
		if e.base == nil || !families {
			rd = &reading{name: e.name, loaded: e.m != nil}
			of[e] = rd
			out = append(out, rd)
			if rd.loaded && e.base == nil {
				rd.bytes = e.bytes
			}
		} else {
			rd.adapters = append(rd.adapters, e.name)
			if st.Running > 0 {
				rd.running = append(rd.running, e.name)
			}
			if st.Waiting > 0 {
				rd.waiting = append(rd.waiting, e.name)
			}
		}
		rd.stats = plus(rd.stats, st)
	}
	return out
}

// plus adds what two schedulers are doing and have done.
func plus(a, b infer.SchedulerStats) infer.SchedulerStats {
	a.Waiting += b.Waiting
	a.WaitingTokens += b.WaitingTokens
	a.Running += b.Running
	a.Pages += b.Pages
	a.PageLen = max(a.PageLen, b.PageLen)
	a.PagesInUse += b.PagesInUse
	a.PagesKept += b.PagesKept
	return plusCounts(a, b)
}

// plusCounts adds to a what b has counted, and nothing of what it is doing.
func plusCounts(a, b infer.SchedulerStats) infer.SchedulerStats {
	a.Passes += b.Passes
	a.BatchTokens += b.BatchTokens
	a.PrefixAsked += b.PrefixAsked
	a.PrefixFound += b.PrefixFound
	a.Preempted += b.Preempted
	a.BatchWorks += b.BatchWorks
	for i, n := range b.BatchSizes {
		a.BatchSizes[i] += n
	}
	return a
}

// Collect implements prometheus.Collector.
func (c *modelCollector) Collect(ch chan<- prometheus.Metric) {
	for _, rd := range c.r.readings(c.d.adapters != "") {
		c.collect(ch, rd)
	}
}

func (c *modelCollector) collect(ch chan<- prometheus.Metric, rd *reading) {
	send := func(name string, kind prometheus.ValueType, v float64, labels ...string) {
		if d := c.descs[name]; d != nil {
			ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
		}
	}
	gauge := func(name string, v float64) { send(name, prometheus.GaugeValue, v, rd.name) }
	counter := func(name string, v int64) { send(name, prometheus.CounterValue, float64(v), rd.name) }
	st := &rd.stats
	gauge(c.d.waiting, float64(st.Waiting))
	gauge(c.d.waitingTokens, float64(st.WaitingTokens))
	gauge(c.d.running, float64(st.Running))
	gauge(c.d.cacheUse, float64(st.PagesInUse)/float64(max(st.Pages, 1)))
	gauge(c.d.pages, float64(st.Pages))
	gauge(c.d.pagesUsed, float64(st.PagesInUse))
	gauge(c.d.pagesKept, float64(st.PagesKept))
	counter(c.d.asked, st.PrefixAsked)
	counter(c.d.found, st.PrefixFound)
	counter(c.d.preempted, st.Preempted)
	counter(c.d.passes, st.Passes)
	counter(c.d.passTokens, st.BatchTokens)
	loaded := 0.0
	if rd.loaded {
		loaded = 1
	}
	gauge(c.d.loaded, loaded)
	gauge(c.d.bytes, float64(rd.bytes))
	if d := c.descs[c.d.batchSize]; d != nil {
		buckets, sum := map[float64]uint64{}, uint64(0)
		for i, n := range st.BatchSizes {
			sum += uint64(n)
			buckets[float64(int(1)<<i)] = sum
		}
		ch <- prometheus.MustNewConstHistogram(d, uint64(st.Passes), float64(st.BatchWorks), buckets, rd.name)
	}
	if rd.loaded {
		send(c.d.cacheConfig, prometheus.GaugeValue, 1, rd.name, strconv.Itoa(st.PageLen), strconv.Itoa(st.Pages))
	}
	if len(rd.adapters) > 0 {
		send(c.d.adapters, prometheus.GaugeValue, float64(time.Now().UnixMilli())/1000, strconv.Itoa(len(rd.adapters)),
			strings.Join(rd.running, ","), strings.Join(rd.waiting, ","))
	}
}
