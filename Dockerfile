# Gymkhana in three images: `service`, which is the default, `load` with Locust, and `agent`, which makes backups.
#
#   docker build --tag gymkhana .
#   docker build --tag gymkhana-agent --target agent --build-arg POSTGRES_IMAGE=postgres:16-bookworm .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# Backups are taken, and proven by recovering them, with the server's own programs: so the agent stands on the server's image.
ARG POSTGRES_IMAGE=postgres:18-bookworm


# What the lock file names, and the project, in an environment that is copied whole. None of what makes it is.
FROM ${PYTHON_IMAGE} AS wheels
ARG UV_VERSION=0.13.9
ENV UV_PROJECT_ENVIRONMENT=/opt/gymkhana UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv==${UV_VERSION}
WORKDIR /src
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --frozen --no-install-project
COPY . .
RUN /opt/uv/bin/uv sync --frozen --no-editable

FROM wheels AS wheels-load
RUN /opt/uv/bin/uv sync --frozen --no-editable --extra load


# An environment belongs to the Python that made it, and the server's image has another one.
FROM ${POSTGRES_IMAGE} AS server
USER root
RUN apt-get update -q && apt-get install -qy --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*

FROM server AS wheels-agent
ENV UV_PROJECT_ENVIRONMENT=/opt/gymkhana UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
COPY --from=wheels /opt/uv/bin/uv /usr/local/bin/uv
COPY --from=wheels /src /src
WORKDIR /src
RUN uv sync --frozen --no-editable

FROM server AS agent
ENV PATH=/opt/gymkhana/bin:$PATH PYTHONUNBUFFERED=1 GYM_ENV=prod
RUN useradd --uid 10001 --create-home --home-dir /srv/gymkhana gymkhana \
    && install -d -o gymkhana -g gymkhana -m 0700 /store /spool
COPY --from=wheels-agent /opt/gymkhana /opt/gymkhana
USER gymkhana
WORKDIR /srv/gymkhana
ENTRYPOINT ["gymkhana"]
CMD ["schedule"]


FROM ${PYTHON_IMAGE} AS user
ENV PATH=/opt/gymkhana/bin:$PATH PYTHONUNBUFFERED=1 GYM_ENV=prod
RUN useradd --uid 10001 --create-home --home-dir /srv/gymkhana gymkhana \
    && install -d -o gymkhana -g gymkhana /srv/gymkhana/var
USER gymkhana
WORKDIR /srv/gymkhana
ENTRYPOINT ["gymkhana"]

FROM user AS load
COPY --from=wheels-load /opt/gymkhana /opt/gymkhana
CMD ["load"]

FROM user AS service
COPY --from=wheels /opt/gymkhana /opt/gymkhana
ENV GYM_HOST=0.0.0.0 GYM_PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD python3 -c "from urllib.request import urlopen; urlopen('http://127.0.0.1:$GYM_PORT/health/ready', timeout=2)"
CMD ["serve"]
