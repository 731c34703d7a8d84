package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// serverSettings are the settings of leo serve that the manifests must agree with; cmd/leo reads all of them.
type serverSettings struct {
	Listen       string
	Keys         string
	MetricsNames string        `yaml:"metrics_names"`
	OpenMetrics  bool          `yaml:"open_metrics"`
	DrainDelay   time.Duration `yaml:"drain_delay"`
	Drain        time.Duration
}

// probe is one of a container.
type probe struct {
	HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
	PeriodSeconds    int                         `yaml:"periodSeconds"`
	TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
	FailureThreshold int                         `yaml:"failureThreshold"`
}

// object has the fields of the manifests that this test looks at; deploy/kubernetes/check knows all that there are.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Selector    map[string]any
		TargetPorts []struct{ Number int } `yaml:"targetPorts"`
		Ports       []struct {
			TargetPort string `yaml:"targetPort"`
		}
		Template struct {
			Metadata struct{ Labels map[string]any }
			Spec     struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []struct {
					Args  []string
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					StartupProbe    probe `yaml:"startupProbe"`
					ReadinessProbe  probe `yaml:"readinessProbe"`
					LivenessProbe   probe `yaml:"livenessProbe"`
					Resources       struct{ Requests, Limits map[string]string }
					SecurityContext struct {
						ReadOnly bool `yaml:"readOnlyRootFilesystem"`
						Escalate bool `yaml:"allowPrivilegeEscalation"`
					} `yaml:"securityContext"`
				}
				SecurityContext struct {
					NonRoot bool `yaml:"runAsNonRoot"`
				} `yaml:"securityContext"`
			}
		}
	}
}

// objects reads manifests by the kind of each object.
func objects(text []byte) (map[string]*object, error) {
	out := map[string]*object{}
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		o := &object{}
		if err := dec.Decode(o); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		out[o.Kind] = o
	}
}

// manifestFaults lists where the manifests disagree with the server that they run.
func manifestFaults(server, pool []byte) []string {
	a, err := objects(server)
	b, err2 := objects(pool)
	if err := errors.Join(err, err2); err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	must := func(ok bool, what string) {
		if !ok {
			wrong = append(wrong, what)
		}
	}
	d, s, c, p := a["Deployment"], a["Service"], a["ConfigMap"], b["InferencePool"]
	if d == nil || s == nil || c == nil || p == nil || len(d.Spec.Template.Spec.Containers) != 1 {
		return []string{"an object is missing"}
	}
	var cfg serverSettings
	if err := yaml.Unmarshal([]byte(c.Data["leo.yaml"]), &cfg); err != nil {
		return []string{err.Error()}
	}
	pod := &d.Spec.Template.Spec
	k := &pod.Containers[0]
	port := 0
	if len(k.Ports) == 1 && k.Ports[0].Name == "http" {
		port = k.Ports[0].ContainerPort
	}
	must(cfg.Listen == "0.0.0.0:8080" && port == 8080, "the server listens elsewhere than at the container's port")
	must(len(p.Spec.TargetPorts) == 1 && p.Spec.TargetPorts[0].Number == port, "the pool has another port")
	must(len(s.Spec.Ports) == 1 && s.Spec.Ports[0].TargetPort == "http", "the service has another port")
	grace := time.Duration(pod.Grace) * time.Second
	must(grace >= cfg.DrainDelay+cfg.Drain+5*time.Second+time.Second, "the grace period ends before the server has drained")
	ready, live, start := k.ReadinessProbe, k.LivenessProbe, k.StartupProbe
	must(start.HTTPGet.Path == "/readyz" && ready.HTTPGet.Path == "/readyz" && live.HTTPGet.Path == "/livez", "a probe asks for something else")
	must(start.PeriodSeconds*start.FailureThreshold >= 300, "there is too little time to load a model")
	seen := time.Duration(ready.PeriodSeconds*ready.FailureThreshold) * time.Second
	must(cfg.DrainDelay > seen+2*time.Second, "the server stops before its readiness is noticed")
	must(cfg.MetricsNames == "vllm" && cfg.OpenMetrics, "the endpoint picker cannot read the metrics")
	must(cfg.Keys != "", "anybody in the cluster may ask")
	must(pod.SecurityContext.NonRoot && k.SecurityContext.ReadOnly && !k.SecurityContext.Escalate, "the container may do more than it needs")
	must(k.Resources.Requests["cpu"] != "" && k.Resources.Limits["memory"] != "" && k.Resources.Limits["memory"] == k.Resources.Requests["memory"], "memory is not reserved")
	must(slices.Equal(k.Args, []string{"serve", "--config", "/etc/leo/leo.yaml"}), "the container runs something else")
	label := d.Spec.Template.Metadata.Labels["app.kubernetes.io/name"]
	poolLabels, _ := p.Spec.Selector["matchLabels"].(map[string]any)
	must(label != nil && s.Spec.Selector["app.kubernetes.io/name"] == label && poolLabels["app.kubernetes.io/name"] == label, "a selector finds other pods")
	return wrong
}

func TestKubernetesManifests(t *testing.T) {
	server, err1 := os.ReadFile("kubernetes/leo.yaml")
	pool, err2 := os.ReadFile("kubernetes/inferencepool.yaml")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, w := range manifestFaults(server, pool) {
		t.Error(w)
	}
	for _, c := range []struct{ old, new, want string }{
		{"terminationGracePeriodSeconds: 90", "terminationGracePeriodSeconds: 70", "grace period"},
		{"drain: 60s", "drain: 2m", "grace period"},
		{"drain_delay: 10s", "drain_delay: 3s", "readiness is noticed"},
		{"path: /livez", "path: /readyz", "a probe"},
		{"failureThreshold: 120", "failureThreshold: 12", "too little time"},
		{"metrics_names: vllm", "metrics_names: leo", "metrics"},
		{"containerPort: 8080", "containerPort: 8000", "port"},
		{"runAsNonRoot: true", "runAsNonRoot: false", "more than it needs"},
		{"keys: /etc/leo/keys/keys", "no_keys: true", "anybody"},
		{"    app.kubernetes.io/name: leo\n  ports:", "    app: leo\n  ports:", "other pods"},
	} {
		changed := strings.Replace(string(server), c.old, c.new, 1)
		if changed == string(server) {
			t.Errorf("the file has no %q", c.old)
		}
		if got := manifestFaults([]byte(changed), pool); !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, c.want) }) {
			t.Errorf("with %q: %q, want %q", c.new, got, c.want)
		}
	}
}

// The unit gives the server no more than it needs, and time to drain; systemd itself reads it, where there is one.
func TestSystemdUnit(t *testing.T) {
	text, err := os.ReadFile("systemd/leo.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(text)
	for _, line := range []string{
		"ExecStart=/usr/local/bin/leo serve --config /etc/leo/leo.yaml", "DynamicUser=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes",
		"NoNewPrivileges=yes", "CapabilityBoundingSet=", "MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service", "StateDirectory=leo",
		"Restart=on-failure", "TimeoutStopSec=60", "KillMode=mixed",
	} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(line) + `$`).MatchString(unit) {
			t.Errorf("no line %s", line)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("without systemd-analyze")
	}
	// The program and its manual page are not installed here.
	unit = regexp.MustCompile(`(?m)^Documentation=.*\n`).ReplaceAllString(strings.Replace(unit, "/usr/local/bin/leo ", "/bin/true ", 1), "")
	path := filepath.Join(t.TempDir(), "leo.service")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
