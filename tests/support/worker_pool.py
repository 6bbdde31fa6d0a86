"""Starts a Beam worker process whenever a runner asks for one: `python worker_pool.py HOST:PORT` prints its port.

Beam's own `worker_pool_main` does this too, but listens on every address of the machine.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

if __name__ == "__main__":
    pool = BeamFnExternalWorkerPoolServicer(use_process=True)
    server = grpc.server(ThreadPoolExecutor(8))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    port = server.add_insecure_port(sys.argv[1])
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    for process in pool._worker_processes.values():
        process.kill()
