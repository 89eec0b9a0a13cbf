# The stand-ins, under the tags that docker-compose.yml and the Dockerfiles name (without their
# digests, which only a registry can serve). `python` is baked first: seaweedfs is built from it.
group "default" { targets = ["postgres", "haproxy", "seaweedfs"] }

target "base" {
  labels = { "modelyard.standin" = "true" }
}

target "python" {
  inherits = ["base"]
  context  = "python"
  tags     = ["python:3.11.17-slim-bookworm"]
}

target "postgres" {
  inherits = ["base"]
  context  = "postgres"
  tags     = ["postgres:17.11-trixie"]
}

target "haproxy" {
  inherits = ["base"]
  context  = "haproxy"
  tags     = ["haproxy:3.0.28-trixie"]
}

target "seaweedfs" {
  inherits = ["base"]
  context  = "seaweedfs"
  tags     = ["chrislusf/seaweedfs:4.48"]
}
