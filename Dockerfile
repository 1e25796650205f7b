# syntax=docker/dockerfile:1
# One image for every `siem` command: the loader's worker, the detector, and one-off commands.
FROM python:3.12.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY loader/ loader/
RUN /opt/venv/bin/pip install .

FROM python:3.12.12-slim-bookworm
LABEL org.opencontainers.image.title="cloudtrail-siem" \
      org.opencontainers.image.description="A SIEM for AWS CloudTrail on OpenSearch and Elasticsearch" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 siem \
    && useradd --uid 10001 --gid siem --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin siem
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SIEM_HOME=/opt/siem
# Owned by root and not writable: the process cannot change its own code, rules or mappings.
COPY --from=build /opt/venv /opt/venv
COPY mappings/ /opt/siem/mappings/
COPY rules/ /opt/siem/rules/
COPY dashboards/ /opt/siem/dashboards/
COPY LICENSE /opt/siem/LICENSE
WORKDIR /opt/siem
# A number, so that `runAsNonRoot` can be checked.
USER 10001:10001
# Healthy: Python starts, the settings are usable and the cluster answers. One-off containers end before it matters.
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=3 CMD ["siem", "mappings", "plan", "--json"]
ENTRYPOINT ["siem"]
CMD ["--help"]
