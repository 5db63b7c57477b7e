package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	pb "grpc/testing"
	data "xds/data/orca/v3"
	orca "xds/service/orca/v3"
)

// Notes in a call's context how its latest request came: grpc-go tells the sizes on the wire, not the compressed flag.
type compressionWatch struct{}

type watchKey struct{}

func (compressionWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, watchKey{}, new(bool))
}

func (compressionWatch) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if payload, ok := event.(*stats.InPayload); ok {
		*ctx.Value(watchKey{}).(*bool) = payload.WireLength < payload.Length
	}
}

func (compressionWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

func (compressionWatch) HandleConn(context.Context, stats.ConnStats) {}

func checkCompression(ctx context.Context, expected *pb.BoolValue) error {
	if expected == nil || expected.Value == *ctx.Value(watchKey{}).(*bool) {
		return nil
	}
	return status.Error(codes.InvalidArgument, "the request came the other way")
}

// What the server reports as its load, because a client asked it to.
type loadReports struct {
	lock   sync.Mutex
	report *data.OrcaLoadReport
}

func (reports *loadReports) set(report *data.OrcaLoadReport) {
	reports.lock.Lock()
	defer reports.lock.Unlock()
	reports.report = report
}

func (reports *loadReports) get() *data.OrcaLoadReport {
	reports.lock.Lock()
	defer reports.lock.Unlock()
	return reports.report
}

func (reports *loadReports) StreamCoreMetrics(
	request *orca.OrcaLoadReportRequest, stream orca.OpenRcaService_StreamCoreMetricsServer,
) error {
	interval := time.Duration(request.GetReportInterval().GetSeconds())*time.Second + time.Duration(request.GetReportInterval().GetNanos())
	if interval < 50*time.Millisecond {
		interval = 50 * time.Millisecond
	}
	for {
		if err := stream.Send(reports.get()); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-time.After(interval):
		}
	}
}

// The report that a test asks for, as servers send it.
func loadReport(asked *pb.TestOrcaReport) *data.OrcaLoadReport {
	return &data.OrcaLoadReport{
		CpuUtilization: asked.CpuUtilization, MemUtilization: asked.MemoryUtilization, RequestCost: asked.RequestCost,
		Utilization: asked.Utilization}
}

type service struct {
	*pb.UnimplementedTestServiceServer
	reports *loadReports
}

func echoMetadata(ctx context.Context) error {
	received, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetHeader(ctx, metadata.MD{echoInitial: received[echoInitial]}); err != nil {
		return err
	}
	return grpc.SetTrailer(ctx, metadata.MD{echoTrailing: received[echoTrailing]})
}

func askedStatus(asked *pb.EchoStatus) error {
	if asked == nil {
		return nil
	}
	return status.Error(codes.Code(asked.Code), asked.Message)
}

func zeros(size int32) *pb.Payload { return &pb.Payload{Body: make([]byte, size)} }

func (service) EmptyCall(context.Context, *pb.Empty) (*pb.Empty, error) { return &pb.Empty{}, nil }

func (service) UnaryCall(ctx context.Context, request *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if err := echoMetadata(ctx); err != nil {
		return nil, err
	}
	if err := checkCompression(ctx, request.ExpectCompressed); err != nil {
		return nil, err
	}
	if err := askedStatus(request.ResponseStatus); err != nil {
		return nil, err
	}
	if request.OrcaPerQueryReport != nil {
		report, err := proto.Marshal(loadReport(request.OrcaPerQueryReport))
		if err != nil {
			return nil, err
		}
		if err := grpc.SetTrailer(ctx, metadata.Pairs(loadTrailer, string(report))); err != nil {
			return nil, err
		}
	}
	return &pb.SimpleResponse{Payload: zeros(request.ResponseSize)}, nil
}

func (service) StreamingOutputCall(request *pb.StreamingOutputCallRequest, stream pb.TestService_StreamingOutputCallServer) error {
	return respond(request, stream)
}

func (service) StreamingInputCall(stream pb.TestService_StreamingInputCallServer) error {
	size := 0
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		} else if err != nil {
			return err
		}
		if err := checkCompression(stream.Context(), request.ExpectCompressed); err != nil {
			return err
		}
		size += len(request.GetPayload().GetBody())
	}
}

func (service service) FullDuplexCall(stream pb.TestService_FullDuplexCallServer) error {
	if err := echoMetadata(stream.Context()); err != nil {
		return err
	}
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := askedStatus(request.ResponseStatus); err != nil {
			return err
		}
		if request.OrcaOobReport != nil {
			service.reports.set(loadReport(request.OrcaOobReport))
		}
		if err := respond(request, stream); err != nil {
			return err
		}
	}
}

func respond(request *pb.StreamingOutputCallRequest, stream interface {
	Send(*pb.StreamingOutputCallResponse) error
}) error {
	for _, wanted := range request.ResponseParameters {
		time.Sleep(time.Duration(wanted.IntervalUs) * time.Microsecond)
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: zeros(wanted.Size)}); err != nil {
			return err
		}
	}
	return nil
}

func serve() error {
	options := []grpc.ServerOption{grpc.StatsHandler(compressionWatch{})}
	if *useTLS {
		own, err := credentials.NewServerTLSFromFile(*certificateFile, *keyFile)
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(own))
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	reports := &loadReports{report: &data.OrcaLoadReport{}}
	orca.RegisterOpenRcaServiceServer(server, reports)
	pb.RegisterTestServiceServer(server, service{reports: reports})
	return server.Serve(listener)
}
