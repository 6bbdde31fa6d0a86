# A worker of the job: Beam's own image, and this package without TensorFlow, which no worker imports.
# Built from the repository: docker build --tag REGION-docker.pkg.dev/PROJECT/REPO/hpa-stacked .
# The Beam version must be the one that submits the job.
ARG BEAM=2.77.0
FROM apache/beam_python3.11_sdk:${BEAM}
COPY worker-requirements.txt /tmp/hpa/
RUN pip install --no-cache-dir -r /tmp/hpa/worker-requirements.txt
COPY setup.cfg setup.py pyproject.toml README.md LICENSE /tmp/hpa/
COPY pipeline /tmp/hpa/pipeline
RUN pip install --no-cache-dir --no-deps /tmp/hpa && python -c "import pipeline.write.transforms"
