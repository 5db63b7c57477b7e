#!/usr/bin/env python3
"""What stock gRPC tools see of a server: surface.py --server HOST:PORT SERVICE… checks reflection and health for each service."""
import argparse
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--server", required=True)
parser.add_argument("services", nargs="+")
options = parser.parse_args()
channel = grpc.insecure_channel(options.server)
database = ProtoReflectionDescriptorDatabase(channel)
pool = DescriptorPool(database)
listed = set(database.get_services())
health = health_pb2_grpc.HealthStub(channel)
problems = []
for service in options.services + [""]:
    status = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status
    if status != health_pb2.HealthCheckResponse.SERVING:
        problems.append(f"health of '{service}' is {health_pb2.HealthCheckResponse.ServingStatus.Name(status)}")
    if not service:
        continue
    if service not in listed:
        problems.append(f"reflection does not list {service}, only {sorted(listed)}")
    elif not pool.FindServiceByName(service).methods:
        problems.append(f"reflection shows no method of {service}")
try:
    health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=10)
    problems.append("health knows a service that does not exist")
except grpc.RpcError as error:
    if error.code() != grpc.StatusCode.NOT_FOUND:
        problems.append(f"health of an unknown service is {error.code()}")
for problem in problems:
    print(problem)
print(f"{len(options.services)} services, {len(problems)} problems")
sys.exit(1 if problems else 0)
