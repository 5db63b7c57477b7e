// The client and the server of the interop cases, on grpc-go: interop server|client --flag=value…
package main

import (
	"flag"
	"fmt"
	"os"
)

const (
	echoInitial  = "x-grpc-test-echo-initial"
	echoTrailing = "x-grpc-test-echo-trailing-bin"
	loadTrailer  = "endpoint-load-metrics-bin"
)

var (
	port               = flag.Int("port", 0, "where to listen")
	useTLS             = flag.Bool("use_tls", false, "whether to use TLS")
	certificateFile    = flag.String("tls_cert_file", "", "the server's certificate")
	keyFile            = flag.String("tls_key_file", "", "its key")
	serverHost         = flag.String("server_host", "localhost", "the server")
	serverPort         = flag.Int("server_port", 0, "its port")
	serverHostOverride = flag.String("server_host_override", "", "the name of its certificate")
	caFile             = flag.String("ca_file", "", "whom to trust")
	testCase           = flag.String("test_case", "", "the case to run")
	concurrentCalls    = flag.Int("concurrent_calls", 1000, "calls of concurrent_large_unary")
	soakIterations     = flag.Int("soak_iterations", 10, "calls of a soak")
	soakLatency        = flag.Int("soak_per_iteration_max_acceptable_latency_ms", 1000, "a call that takes longer has failed")
)

func main() {
	verbs := map[string]func() error{"server": serve, "client": runCase}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "interop server|client --flag=value")
		os.Exit(2)
	}
	flag.CommandLine.Parse(os.Args[2:])
	if err := verbs[os.Args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
