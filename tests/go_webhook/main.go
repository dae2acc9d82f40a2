// Sends audit events as an API server does, by its own webhook backend; or reads manifests as
// strictly as an API server can.
//
// usage: go run . send KUBECONFIG batch|blocking EVENTS
// usage: go run . manifests < FILE
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	"k8s.io/apiserver/plugin/pkg/audit/webhook"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == "send" {
		events, err := strconv.Atoi(os.Args[4])
		check(err)
		send(os.Args[2], os.Args[3], events)
		return
	}
	manifests()
}

func send(kubeconfig, mode string, events int) {
	backoff := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}
	backend, err := webhook.NewBackend(kubeconfig, auditv1.SchemeGroupVersion, backoff, nil)
	check(err)
	if mode == "batch" {
		// As kube-apiserver has it, but without its throttle.
		backend = buffered.NewBackend(backend, buffered.BatchConfig{
			BufferSize: 10000, MaxBatchSize: 400, MaxBatchWait: time.Second, AsyncDelegate: true,
		})
	}
	stop := make(chan struct{})
	check(backend.Run(stop))
	refused := 0
	for number := range events {
		for _, stage := range []auditinternal.Stage{
			auditinternal.StageRequestReceived, auditinternal.StageResponseComplete,
		} {
			if !backend.ProcessEvents(event(number, stage)) {
				refused++
			}
		}
	}
	close(stop)
	backend.Shutdown()
	check(json.NewEncoder(os.Stdout).Encode(map[string]int{"refused": refused}))
}

func event(number int, stage auditinternal.Stage) *auditinternal.Event {
	now := metav1.NewMicroTime(time.Now())
	made := &auditinternal.Event{
		Level:                    auditinternal.LevelMetadata,
		AuditID:                  types.UID(fmt.Sprintf("7d1b3f52-0000-4000-8000-%012d", number)),
		Stage:                    stage,
		RequestURI:               "/api/v1/namespaces/shop/pods/web-1/exec?command=sh",
		Verb:                     "create",
		User:                     authnv1.UserInfo{Username: "alice", Groups: []string{"system:authenticated"}},
		SourceIPs:                []string{"10.0.0.8"},
		UserAgent:                "kubectl/v1.37.2 " + strings.Repeat("x", 500),
		ObjectRef:                &auditinternal.ObjectReference{Resource: "pods", Namespace: "shop", Name: "web-1", APIVersion: "v1", Subresource: "exec"},
		RequestReceivedTimestamp: now,
		StageTimestamp:           now,
	}
	if stage == auditinternal.StageResponseComplete {
		made.ResponseStatus = &metav1.Status{Code: 101}
	}
	return made
}

func manifests() {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := utilyaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	kinds := []string{}
	for {
		document, err := reader.Read()
		if err == io.EOF {
			break
		}
		check(err)
		if strings.TrimSpace(string(document)) == "" {
			continue
		}
		_, kind, err := strict.Decode(document, nil, nil)
		check(err)
		kinds = append(kinds, kind.Kind)
	}
	check(json.NewEncoder(os.Stdout).Encode(kinds))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
