# Two stages: the first installs, the second runs and has no build tools. Every package comes as a wheel for amd64
# and arm64. The functions: docker run IMAGE; the consumer: docker run IMAGE consumer; migrations: docker run IMAGE migrate.

FROM python:3.12-slim-bookworm AS build
WORKDIR /app
COPY requirements.txt constraints.txt ./
RUN python -m venv /app/.venv \
    && /app/.venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: \
        -r requirements.txt -c constraints.txt \
    && echo /app > "$(/app/.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pickmyclass.pth" \
    && /app/.venv/bin/python -m pip uninstall --quiet --yes pip

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pickmyclass
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY commands.py huey_app.py ./
COPY functions ./functions
COPY shared ./shared
COPY supabase ./supabase
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    MALLOC_ARENA_MAX=2 \
    HOST=0.0.0.0 \
    PORT=8080 \
    LOG_FORMAT=json
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=15s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/api/monitoring/health?probe=live', timeout=5)"]
ENTRYPOINT ["python", "-m", "commands"]
CMD ["functions"]
