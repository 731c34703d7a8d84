package serve

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	names "github.com/prometheus/common/model"
)

// scrape reads the metrics: name{labels} → value.
func scrape(t testing.TB, url string, headers ...string) map[string]float64 {
	t.Helper()
	r, body := ask(t, "GET", url+"/metrics", "", headers...)
	if r.StatusCode != 200 {
		t.Fatalf("status %d: %s", r.StatusCode, body)
	}
	parser := expfmt.NewTextParser(names.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(labels)
			key := name + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.Counter != nil:
				out[key] = m.Counter.GetValue()
			case m.Gauge != nil:
				out[key] = m.Gauge.GetValue()
			case m.Histogram != nil:
				out[key] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return out
}

// The metrics count what was asked and answered; what clients make up adds no series.
func TestMetrics(t *testing.T) {
	keys, secrets := testKeys(t, "alice")
	_, url := newTest(t, Config{Keys: keys})
	auth := "Authorization: Bearer " + secrets["alice"]
	ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`,"temperature":0}`, auth)
	before := scrape(t, url, auth)
	for i := range 1000 {
		name := strings.Repeat("x", i%50) + newID("")
		ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`,"model":"`+name+`","user":"`+name+`"}`, auth)
	}
	ask(t, "POST", url+"/"+newID(""), `{}`, auth)
	ask(t, "PURGE"+newID(""), url+"/v1/models", ``, auth)
	ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`,"temperature":0}`, auth)
	var after map[string]float64
	wait(t, func() bool {
		after = scrape(t, url, auth)
		return after["leo_http_requests_total{model=leo-mini,route=POST /v1/chat/completions,status=200}"] == 2
	}, "all is counted")
	var fresh []string
	for _, k := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[k]; !ok {
			fresh = append(fresh, k)
		}
	}
	if len(fresh) > 8 {
		t.Errorf("%d new series: %q", len(fresh), fresh)
	}
	for k, want := range map[string]float64{
		"leo_http_requests_total{model=leo-mini,route=POST /v1/chat/completions,status=200}": 2,
		"leo_http_requests_total{model=other,route=POST /v1/chat/completions,status=404}":    1000,
		"leo_time_to_first_token_seconds{model=leo-mini}":                                    2,
		"leo_answers_total{finish_reason=stop,model=leo-mini}":                               2,
		"leo_requests_running{model=leo-mini}":                                               0,
		"leo_requests_waiting{model=leo-mini}":                                               0,
		"leo_model_loaded{model=leo-mini}":                                                   1,
	} {
		if after[k] != want {
			t.Errorf("%s is %g, want %g", k, after[k], want)
		}
	}
	for _, k := range []string{"leo_prompt_tokens_total", "leo_generated_tokens_total", "leo_time_between_tokens_seconds", "leo_prefix_asked_tokens_total",
		"leo_cache_pages", "leo_batch_size", "leo_passes_total", "leo_model_bytes", "leo_request_duration_seconds"} {
		if after[k+"{model=leo-mini}"] <= 0 {
			t.Errorf("%s is %g", k, after[k+"{model=leo-mini}"])
		}
	}
	for k := range after {
		if strings.Contains(k, "alice") || strings.Contains(k, secrets["alice"]) {
			t.Errorf("%s names a key", k)
		}
	}
	for _, k := range []string{"go_goroutines{}", "process_resident_memory_bytes{}"} {
		if after[k] <= 0 {
			t.Errorf("%s is %g", k, after[k])
		}
	}
}

// What the Gateway API inference extension reads, by the names and labels that it knows.
func TestMetricsWithVLLMNames(t *testing.T) {
	_, url := newTest(t, Config{MetricNames: VLLMNames})
	ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`}`)
	m := scrape(t, url)
	for _, k := range []string{
		"vllm:num_requests_waiting{model_name=leo-mini}", "vllm:num_requests_running{model_name=leo-mini}", "vllm:kv_cache_usage_perc{model_name=leo-mini}",
		"vllm:prompt_tokens_total{model_name=leo-mini}", "vllm:generation_tokens_total{model_name=leo-mini}",
		"vllm:time_to_first_token_seconds{model_name=leo-mini}", "vllm:inter_token_latency_seconds{model_name=leo-mini}",
		"vllm:e2e_request_latency_seconds{model_name=leo-mini}", "vllm:request_success_total{finished_reason=stop,model_name=leo-mini}",
		"vllm:cache_config_info{block_size=32,model_name=leo-mini,num_gpu_blocks=2048}",
	} {
		if _, ok := m[k]; !ok {
			t.Errorf("no %s", k)
		}
	}
	if _, err := New(t.Context(), Config{MetricNames: "sglang"}); err == nil {
		t.Error("unknown names are taken")
	}
}
