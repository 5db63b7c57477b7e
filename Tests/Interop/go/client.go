package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "grpc/testing"
	data "xds/data/orca/v3"
	orca "xds/service/orca/v3"
)

var (
	requestSizes  = []int32{27182, 8, 1828, 45904}
	responseSizes = []int32{31415, 9, 2653, 58979}
	compressed    = grpc.UseCompressor(gzip.Name)
)

// A case that fails panics with what was wrong.
func expect(holds bool, what string, values ...interface{}) {
	if !holds {
		panic(fmt.Sprintf(what, values...))
	}
}

func succeed(err error) { expect(err == nil, "%v", err) }

func expectStatus(err error, code codes.Code, message string) {
	got := status.Convert(err)
	expect(got.Code() == code, "status %v instead of %v", err, code)
	expect(message == "" || got.Message() == message, "message %q", got.Message())
}

func large() *pb.SimpleRequest {
	return &pb.SimpleRequest{ResponseSize: 314159, Payload: zeros(271828)}
}

func exchange(request, response int32) *pb.StreamingOutputCallRequest {
	return &pb.StreamingOutputCallRequest{
		ResponseParameters: []*pb.ResponseParameters{{Size: response}}, Payload: zeros(request)}
}

func connect() (*grpc.ClientConn, error) {
	option := grpc.WithInsecure()
	if *useTLS {
		trusted, err := credentials.NewClientTLSFromFile(*caFile, *serverHostOverride)
		if err != nil {
			return nil, err
		}
		option = grpc.WithTransportCredentials(trusted)
	}
	return grpc.Dial(fmt.Sprintf("%s:%d", *serverHost, *serverPort), option)
}

func runCase() (err error) {
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	run := cases(connection)[*testCase]
	if run == nil {
		return fmt.Errorf("there is no case %s", *testCase)
	}
	defer func() {
		if what := recover(); what != nil {
			err = fmt.Errorf("%v", what)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run(ctx, pb.NewTestServiceClient(connection))
	fmt.Printf("%s: ok\n", *testCase)
	return nil
}

func cases(connection *grpc.ClientConn) map[string]func(context.Context, pb.TestServiceClient) {
	return map[string]func(context.Context, pb.TestServiceClient){
		"empty_unary":                 emptyUnary,
		"large_unary":                 largeUnary,
		"concurrent_large_unary":      concurrentLargeUnary,
		"client_compressed_unary":     clientCompressedUnary,
		"server_compressed_unary":     serverCompressedUnary,
		"client_streaming":            clientStreaming,
		"server_streaming":            serverStreaming,
		"server_compressed_streaming": serverCompressedStreaming,
		"ping_pong":                   pingPong,
		"empty_stream":                emptyStream,
		"custom_metadata":             customMetadata,
		"status_code_and_message":     statusCodeAndMessage,
		"special_status_message": func(ctx context.Context, client pb.TestServiceClient) {
			unaryStatus(ctx, client, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")
		},
		"unimplemented_method": func(ctx context.Context, client pb.TestServiceClient) {
			_, err := client.UnimplementedCall(ctx, &pb.Empty{})
			expectStatus(err, codes.Unimplemented, "")
		},
		"unimplemented_service": func(ctx context.Context, _ pb.TestServiceClient) {
			_, err := pb.NewUnimplementedServiceClient(connection).UnimplementedCall(ctx, &pb.Empty{})
			expectStatus(err, codes.Unimplemented, "")
		},
		"cancel_after_begin":          cancelAfterBegin,
		"cancel_after_first_response": cancelAfterFirstResponse,
		"timeout_on_sleeping_server":  timeoutOnSleepingServer,
		"orca_per_rpc":                orcaPerRPC,
		"orca_oob": func(ctx context.Context, client pb.TestServiceClient) {
			orcaOutOfBand(ctx, client, orca.NewOpenRcaServiceClient(connection))
		},
		"rpc_soak": func(ctx context.Context, client pb.TestServiceClient) {
			soak(func() { largeUnary(ctx, client) })
		},
		"channel_soak": func(ctx context.Context, _ pb.TestServiceClient) {
			soak(func() {
				connection, err := connect()
				succeed(err)
				defer connection.Close()
				largeUnary(ctx, pb.NewTestServiceClient(connection))
			})
		},
	}
}

func emptyUnary(ctx context.Context, client pb.TestServiceClient) {
	_, err := client.EmptyCall(ctx, &pb.Empty{})
	succeed(err)
}

func unary(ctx context.Context, client pb.TestServiceClient, request *pb.SimpleRequest, options ...grpc.CallOption) {
	response, err := client.UnaryCall(ctx, request, options...)
	succeed(err)
	expect(bytes.Equal(response.GetPayload().GetBody(), make([]byte, 314159)), "the payload is wrong")
}

func largeUnary(ctx context.Context, client pb.TestServiceClient) { unary(ctx, client, large()) }

func concurrentLargeUnary(ctx context.Context, client pb.TestServiceClient) {
	var group sync.WaitGroup
	failures := make(chan interface{}, *concurrentCalls)
	for call := 0; call < *concurrentCalls; call++ {
		group.Add(1)
		go func() {
			defer group.Done()
			defer func() { failures <- recover() }()
			largeUnary(ctx, client)
		}()
	}
	group.Wait()
	for call := 0; call < *concurrentCalls; call++ {
		failure := <-failures
		expect(failure == nil, "%v", failure)
	}
}

func clientCompressedUnary(ctx context.Context, client pb.TestServiceClient) {
	request := large()
	request.ExpectCompressed = &pb.BoolValue{Value: true}
	_, err := client.UnaryCall(ctx, request)
	expectStatus(err, codes.InvalidArgument, "")
	unary(ctx, client, request, compressed)
	request.ExpectCompressed.Value = false
	unary(ctx, client, request)
}

// A grpc-go client accepts compressed responses to compressed requests only.
func serverCompressedUnary(ctx context.Context, client pb.TestServiceClient) {
	for _, value := range []bool{true, false} {
		request := large()
		request.ResponseCompressed = &pb.BoolValue{Value: value}
		unary(ctx, client, request, compressed)
	}
}

func clientStreaming(ctx context.Context, client pb.TestServiceClient) {
	stream, err := client.StreamingInputCall(ctx)
	succeed(err)
	for _, size := range requestSizes {
		succeed(stream.Send(&pb.StreamingInputCallRequest{Payload: zeros(size)}))
	}
	response, err := stream.CloseAndRecv()
	succeed(err)
	expect(response.AggregatedPayloadSize == 74922, "the sum is %d", response.AggregatedPayloadSize)
}

func stream(
	ctx context.Context, client pb.TestServiceClient, wanted []*pb.ResponseParameters, options ...grpc.CallOption,
) {
	stream, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{ResponseParameters: wanted}, options...)
	succeed(err)
	for _, each := range wanted {
		response, err := stream.Recv()
		succeed(err)
		expect(len(response.GetPayload().GetBody()) == int(each.Size), "a size is %d", len(response.GetPayload().GetBody()))
	}
	_, err = stream.Recv()
	expect(err == io.EOF, "no end: %v", err)
}

func serverStreaming(ctx context.Context, client pb.TestServiceClient) {
	wanted := []*pb.ResponseParameters{}
	for _, size := range responseSizes {
		wanted = append(wanted, &pb.ResponseParameters{Size: size})
	}
	stream(ctx, client, wanted)
}

func serverCompressedStreaming(ctx context.Context, client pb.TestServiceClient) {
	stream(ctx, client, []*pb.ResponseParameters{
		{Size: 31415, Compressed: &pb.BoolValue{Value: true}}, {Size: 92653, Compressed: &pb.BoolValue{Value: false}},
	}, compressed)
}

func receive(stream pb.TestService_FullDuplexCallClient, size int32) {
	response, err := stream.Recv()
	succeed(err)
	expect(len(response.GetPayload().GetBody()) == int(size), "a size is %d", len(response.GetPayload().GetBody()))
}

func end(stream pb.TestService_FullDuplexCallClient) {
	succeed(stream.CloseSend())
	_, err := stream.Recv()
	expect(err == io.EOF, "no end: %v", err)
}

func pingPong(ctx context.Context, client pb.TestServiceClient) {
	stream, err := client.FullDuplexCall(ctx)
	succeed(err)
	for index, size := range requestSizes {
		succeed(stream.Send(exchange(size, responseSizes[index])))
		receive(stream, responseSizes[index])
	}
	end(stream)
}

func emptyStream(ctx context.Context, client pb.TestServiceClient) {
	stream, err := client.FullDuplexCall(ctx)
	succeed(err)
	end(stream)
}

func customMetadata(ctx context.Context, client pb.TestServiceClient) {
	const text, binary = "test_initial_metadata_value", "\xab\xab\xab"
	check := func(header, trailer metadata.MD) {
		expect(len(header[echoInitial]) == 1 && header[echoInitial][0] == text, "leading metadata is %v", header)
		expect(len(trailer[echoTrailing]) == 1 && trailer[echoTrailing][0] == binary, "trailing metadata is %v", trailer)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, echoInitial, text, echoTrailing, binary)
	var header, trailer metadata.MD
	unary(ctx, client, large(), grpc.Header(&header), grpc.Trailer(&trailer))
	check(header, trailer)
	stream, err := client.FullDuplexCall(ctx)
	succeed(err)
	succeed(stream.Send(exchange(271828, 314159)))
	receive(stream, 314159)
	end(stream)
	header, err = stream.Header()
	succeed(err)
	check(header, stream.Trailer())
}

func unaryStatus(ctx context.Context, client pb.TestServiceClient, message string) {
	_, err := client.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: 2, Message: message}})
	expectStatus(err, codes.Unknown, message)
}

func statusCodeAndMessage(ctx context.Context, client pb.TestServiceClient) {
	const message = "test status message"
	unaryStatus(ctx, client, message)
	stream, err := client.FullDuplexCall(ctx)
	succeed(err)
	succeed(stream.Send(&pb.StreamingOutputCallRequest{ResponseStatus: &pb.EchoStatus{Code: 2, Message: message}}))
	succeed(stream.CloseSend())
	_, err = stream.Recv()
	expectStatus(err, codes.Unknown, message)
}

func cancelAfterBegin(ctx context.Context, client pb.TestServiceClient) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.StreamingInputCall(ctx)
	succeed(err)
	cancel()
	_, err = stream.CloseAndRecv()
	expectStatus(err, codes.Canceled, "")
}

func cancelAfterFirstResponse(ctx context.Context, client pb.TestServiceClient) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.FullDuplexCall(ctx)
	succeed(err)
	succeed(stream.Send(exchange(requestSizes[0], responseSizes[0])))
	receive(stream, responseSizes[0])
	cancel()
	_, err = stream.Recv()
	expectStatus(err, codes.Canceled, "")
}

func timeoutOnSleepingServer(ctx context.Context, client pb.TestServiceClient) {
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	stream, err := client.FullDuplexCall(ctx)
	if err == nil {
		stream.Send(&pb.StreamingOutputCallRequest{Payload: zeros(requestSizes[0])})
		_, err = stream.Recv()
	}
	expectStatus(err, codes.DeadlineExceeded, "")
}

func load(cpu, memory, utilization float64) *pb.TestOrcaReport {
	return &pb.TestOrcaReport{CpuUtilization: cpu, MemoryUtilization: memory, Utilization: map[string]float64{"util": utilization}}
}

func orcaPerRPC(ctx context.Context, client pb.TestServiceClient) {
	asked := load(0.8210, 0.5847, 0.30499)
	asked.RequestCost = map[string]float64{"cost": 3456.32}
	var trailer metadata.MD
	_, err := client.UnaryCall(ctx, &pb.SimpleRequest{OrcaPerQueryReport: asked}, grpc.Trailer(&trailer))
	succeed(err)
	expect(len(trailer[loadTrailer]) == 1, "trailing metadata is %v", trailer)
	report := &data.OrcaLoadReport{}
	succeed(proto.Unmarshal([]byte(trailer[loadTrailer][0]), report))
	expect(proto.Equal(report, loadReport(asked)), "the report is %v", report)
}

func orcaOutOfBand(ctx context.Context, client pb.TestServiceClient, reporter orca.OpenRcaServiceClient) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reports, err := reporter.StreamCoreMetrics(
		ctx, &orca.OrcaLoadReportRequest{ReportInterval: ptypes.DurationProto(100 * time.Millisecond)})
	succeed(err)
	stream, err := client.FullDuplexCall(ctx)
	succeed(err)
	for _, asked := range []*pb.TestOrcaReport{load(0.8210, 0.5847, 0.30499), load(0.29309, 0.2, 0.2039)} {
		request := exchange(0, 1)
		request.OrcaOobReport = asked
		succeed(stream.Send(request))
		receive(stream, 1)
		for {
			report, err := reports.Recv()
			succeed(err)
			if proto.Equal(report, loadReport(asked)) {
				break
			}
		}
	}
	end(stream)
}

func soak(call func()) {
	for index := 0; index < *soakIterations; index++ {
		start := time.Now()
		call()
		expect(time.Since(start) <= time.Duration(*soakLatency)*time.Millisecond, "call %d was late", index)
	}
}
