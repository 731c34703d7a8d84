// Command check decodes Kubernetes manifests into the API's own types and reports fields that they do not have. It is a
// module of its own, so that Leo does not need Kubernetes' packages:
//
//	cd deploy/kubernetes/check && go run . ../leo.yaml ../inferencepool.yaml
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// The extension's packages are not needed for what a pool has: https://gateway-api-inference-extension.sigs.k8s.io.
type inferencePool struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		TargetPorts []struct {
			Number int32 `json:"number"`
		} `json:"targetPorts"`
		EndpointPickerRef struct {
			Group string `json:"group"`
			Kind  string `json:"kind"`
			Name  string `json:"name"`
			Port  struct {
				Number int32 `json:"number"`
			} `json:"port"`
			FailureMode string `json:"failureMode"`
		} `json:"endpointPickerRef"`
	} `json:"spec"`
}

// httpRoute has the fields of Gateway API's HTTPRoute that a manifest of ours uses.
type httpRoute struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		ParentRefs []struct {
			Name string `json:"name"`
		} `json:"parentRefs"`
		Rules []struct {
			Matches []struct {
				Path struct {
					Type  string `json:"type"`
					Value string `json:"value"`
				} `json:"path"`
			} `json:"matches"`
			BackendRefs []struct {
				Group string `json:"group"`
				Kind  string `json:"kind"`
				Name  string `json:"name"`
			} `json:"backendRefs"`
			Timeouts struct {
				Request string `json:"request"`
			} `json:"timeouts"`
		} `json:"rules"`
	} `json:"spec"`
}

// trainingRuntime has the fields of Kubeflow Trainer's, and of JobSet below it, that leo train --emit kubernetes uses.
type trainingRuntime struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		MLPolicy struct {
			NumNodes int32 `json:"numNodes"`
			MPI      struct {
				NumProcPerNode    int32  `json:"numProcPerNode"`
				MPIImplementation string `json:"mpiImplementation"`
				SSHAuthMountPath  string `json:"sshAuthMountPath"`
				RunLauncherAsNode bool   `json:"runLauncherAsNode"`
			} `json:"mpi"`
		} `json:"mlPolicy"`
		Template struct {
			Spec struct {
				Network struct {
					PublishNotReadyAddresses bool `json:"publishNotReadyAddresses"`
				} `json:"network"`
				SuccessPolicy struct {
					Operator             string   `json:"operator"`
					TargetReplicatedJobs []string `json:"targetReplicatedJobs"`
				} `json:"successPolicy"`
				FailurePolicy struct {
					MaxRestarts int32 `json:"maxRestarts"`
				} `json:"failurePolicy"`
				ReplicatedJobs []struct {
					Name      string                `json:"name"`
					Template  batch.JobTemplateSpec `json:"template"`
					DependsOn []struct {
						Name   string `json:"name"`
						Status string `json:"status"`
					} `json:"dependsOn"`
				} `json:"replicatedJobs"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// trainJob is what starts one.
type trainJob struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		RuntimeRef struct {
			APIGroup string `json:"apiGroup"`
			Kind     string `json:"kind"`
			Name     string `json:"name"`
		} `json:"runtimeRef"`
		Trainer struct {
			NumNodes int32 `json:"numNodes"`
		} `json:"trainer"`
	} `json:"spec"`
}

var kinds = map[string]func() any{
	"v1 ConfigMap":                  func() any { return &core.ConfigMap{} },
	"v1 Service":                    func() any { return &core.Service{} },
	"apps/v1 Deployment":            func() any { return &apps.Deployment{} },
	"policy/v1 PodDisruptionBudget": func() any { return &policy.PodDisruptionBudget{} },
	"inference.networking.k8s.io/v1 InferencePool":  func() any { return &inferencePool{} },
	"trainer.kubeflow.org/v1alpha1 TrainingRuntime": func() any { return &trainingRuntime{} },
	"trainer.kubeflow.org/v1alpha1 TrainJob":        func() any { return &trainJob{} },
	"gateway.networking.k8s.io/v1 HTTPRoute":        func() any { return &httpRoute{} },
}

func main() {
	var errs []error
	for _, name := range os.Args[1:] {
		n, err := check(name)
		if err == nil && n == 0 {
			err = errors.New("no objects")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		} else {
			fmt.Printf("%s: %d objects\n", name, n)
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// check decodes the objects of a file and counts them.
func check(name string) (n int, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		var head meta.TypeMeta
		if err := yaml.Unmarshal(doc, &head); err != nil {
			return n, err
		}
		object, ok := kinds[head.APIVersion+" "+head.Kind]
		if !ok {
			return n, fmt.Errorf("object %d: %s %s is not known here", n+1, head.APIVersion, head.Kind)
		}
		if err := yaml.UnmarshalStrict(doc, object()); err != nil {
			return n, fmt.Errorf("object %d, %s: %w", n+1, head.Kind, err)
		}
		n++
	}
}
