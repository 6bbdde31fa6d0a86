"""Runs a staged graph as a Dataflow worker does: `python run_staged.py PIPELINE.pb`.

Run in an environment in which the staged package is the only trace of this project.
"""

import sys

import apache_beam as beam
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import pipeline.write.transforms

graph = beam_runner_api_pb2.Pipeline()
with open(sys.argv[1], "rb") as file:
    graph.ParseFromString(file.read())
for environment in graph.components.environments.values():
    environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
    del environment.dependencies[:]
state = FnApiRunner().run_via_runner_api(graph, beam.options.pipeline_options.PipelineOptions([])).wait_until_finish()
print(f"{state} with {pipeline.write.transforms.__file__}")
