# syntax=docker/dockerfile:1
# Two stages: the first installs, the second runs and has no build tools. arm64 and amd64.

FROM python:3.12-slim-bookworm AS build
WORKDIR /app
COPY requirements.txt constraints.txt ./
RUN python -m venv /app/.venv \
 && /app/.venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt -c constraints.txt \
 && echo /app > "$(/app/.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pickmyclass.pth"

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home pickmyclass
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY commands.py huey_app.py ./
COPY functions ./functions
COPY shared ./shared
COPY supabase ./supabase
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8080 LOG_FORMAT=json
USER pickmyclass
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/api/monitoring/health?probe=live', timeout=4)"]
# The functions; the consumer runs from the same image with: python -m commands consumer
ENTRYPOINT ["python", "-m", "commands"]
CMD ["functions"]
