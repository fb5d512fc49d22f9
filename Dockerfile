# The server, the scheduler of compute and its workers: one image, three commands (compose.yaml).
#
#   docker build -t stillhouse .
#
# pip may be told of another package index (a mirror, or PyTorch's own for small CPU builds of torch):
#   docker build --build-arg PIP_EXTRA_INDEX_URL=https://... -t stillhouse .

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY optimizer optimizer
COPY compression compression
COPY benchmark benchmark
COPY migrations migrations
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt \
        "$(echo /wheels/stillhouse-*.whl)[postgres,s3,otel]" \
    && rm -r /wheels /tmp/constraints.txt \
    && useradd --system --create-home --uid 10470 stillhouse \
    && install -d -o stillhouse /var/lib/stillhouse
USER stillhouse
WORKDIR /var/lib/stillhouse
VOLUME /var/lib/stillhouse
ENV STILLHOUSE_HOST=0.0.0.0 \
    STILLHOUSE_ARTIFACT_DIR=/var/lib/stillhouse/artifacts
EXPOSE 8470
ENTRYPOINT ["stillhouse"]
CMD ["serve"]
