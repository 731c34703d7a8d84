package main

import (
	"fmt"
	"strconv"
	"strings"
)

// kubernetes is a run under Kubeflow Trainer: a TrainingRuntime that says how Open MPI starts the ranks, and the TrainJob
// that starts it. The controller makes a JobSet of both, in which a pod is a machine: the first runs the script for
// mpirun, the others sshd, through which mpirun reaches them. An Indexed Job alone has ranks, but nothing that carries
// their data.
func (j *job) kubernetes() string {
	name := dnsLabel(j.name)
	// Told to end, the script needs the time of a step and a checkpoint; until then sshd must stay, too: where all pods end
	// at once, it waits for mpirun's daemon.
	pod := func(indent string, command string) string {
		text := fmt.Sprintf(`spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: %d
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000, runAsNonRoot: true}
  containers:
    - name: node
      image: %s
%s      resources:
        requests: {cpu: "%d", memory: %dMi}
        limits: {memory: %dMi}
      volumeMounts:
        - {name: work, mountPath: %s}
        - {name: shm, mountPath: /dev/shm}
  volumes:
    - name: work
      persistentVolumeClaim: {claimName: %s}
    - name: shm
      emptyDir: {medium: Memory}
`, j.grace, strconv.Quote(j.image), indented("      ", command), j.cpus*j.perNode, j.memory>>20, j.memory>>20, strconv.Quote(j.mount), strconv.Quote(j.claim))
		return indented(indent, text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# %s on %d ranks, by leo train --emit kubernetes. Start it with: kubectl apply -f FILE
# Needs Kubeflow Trainer 2, and an image with Leo, Open MPI and sshd as Kubeflow's own images for MPI have it.
# Deleted and applied again, it goes on from the last checkpoint.
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainingRuntime
metadata:
  name: %s
spec:
  mlPolicy:
    numNodes: %d
    mpi:
      numProcPerNode: %d
      mpiImplementation: OpenMPI
      sshAuthMountPath: /home/mpiuser/.ssh
      runLauncherAsNode: true
  template:
    spec:
      network: {publishNotReadyAddresses: true}
      successPolicy: {operator: All, targetReplicatedJobs: [launcher]}
      failurePolicy: {maxRestarts: 6}
      replicatedJobs:
`, j.name, j.ranks, name, j.nodes, j.perNode)
	replicated := func(name, more, labels, command string) {
		fmt.Fprintf(&b, "        - name: %s\n%s          template:\n%s            spec:\n              backoffLimit: 0\n              template:\n%s",
			name, more, labels, pod("                ", command))
	}
	depends := ""
	if j.nodes > 1 {
		replicated("node", "", "", `command: [/usr/sbin/sshd, -De, -f, /home/mpiuser/.sshd_config]
readinessProbe: {tcpSocket: {port: 2222}, initialDelaySeconds: 5}
lifecycle: {preStop: {exec: {command: [sh, -c, "while grep -qsx orted /proc/[0-9]*/comm; do sleep 1; done"]}}}`)
		depends = "          dependsOn: [{name: node, status: Ready}]\n"
	}
	replicated("launcher", depends, "            metadata:\n              labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}\n",
		"command:\n  - sh\n  - -c\n  - |\n"+indented("    ", j.mpirun()))
	fmt.Fprintf(&b, `---
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata:
  name: %[1]s
spec:
  runtimeRef: {apiGroup: trainer.kubeflow.org, kind: TrainingRuntime, name: %[1]s}
  trainer: {numNodes: %[2]d}
`, name, j.nodes)
	return b.String()
}

// dnsLabel makes a name for Kubernetes: small letters, digits and "-", a letter first, short enough for what is appended.
func dnsLabel(s string) string {
	label := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	if label = strings.TrimLeft(label, "-0123456789"); len(label) > 40 {
		label = label[:40]
	}
	if label = strings.TrimRight(label, "-"); label == "" {
		return "leo"
	}
	return label
}

// indented puts every line that is not empty further to the right.
func indented(by, text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = by + line
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
