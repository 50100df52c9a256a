"""The manifests: schemas of Kubernetes, and what the parts must agree on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from filterd.settings import Settings
from tests.deploy.files import DEPLOY

FOLDER = DEPLOY / "kubernetes"
VERSION = "1.31"
CUSTOM = {
    "ScaledObject": "keda.sh/v1alpha1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}


def kustomization() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return made


def resources() -> list[dict[str, Any]]:
    """Every resource that the kustomization names."""
    return [
        resource
        for name in kustomization()["resources"]
        for resource in yaml.safe_load_all((FOLDER / name).read_text())
    ]


def resource(kind: str, name: str = "filterd") -> dict[str, Any]:
    (found,) = (r for r in resources() if (r["kind"], r["metadata"]["name"]) == (kind, name))
    return found


def pods() -> list[dict[str, Any]]:
    """The templates of all pods."""
    found = []
    for made in resources():
        if made["kind"] == "Deployment":
            found.append(made["spec"]["template"])
        if made["kind"] == "CronJob":
            found.append(made["spec"]["jobTemplate"]["spec"]["template"])
    return found


def test_every_file_is_named() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(kustomization()["resources"])


@pytest.mark.parametrize(
    "made", resources(), ids=lambda made: f"{made['kind']}-{made['metadata']['name']}"
)
def test_schema(made: dict[str, Any]) -> None:
    if made["kind"] in CUSTOM:
        assert made["apiVersion"] == CUSTOM[made["kind"]]
        assert set(made) == {"apiVersion", "kind", "metadata", "spec"}
        return
    kubernetes_validate.validate(made, VERSION, strict=True)


def test_kustomize_builds_it() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed; the schemas of the files are checked without it")
    done = subprocess.run(
        [kubectl, "kustomize", FOLDER], capture_output=True, text=True, check=True
    )
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(resources())
    images = re.findall(r"image: (\S+)", done.stdout)
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images), images


def test_a_pod_drains_before_it_is_killed() -> None:
    settings = resource("ConfigMap")["data"]
    pod = resource("Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= float(settings["FILTERD_DRAIN_S"]) + 20


def test_the_settings_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ConfigMap, and with what Kubernetes injects for the Service, the daemon starts."""
    for name, value in resource("ConfigMap")["data"].items():
        monkeypatch.setenv(name, value)
    for name, value in injected(resource("Service")).items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert str(settings.artifact) == "/var/lib/filterd/artifacts/champion"
    pod = resource("Deployment")["spec"]["template"]["spec"]
    assert pod.get("enableServiceLinks", True), "else this test would prove nothing"


def injected(service: dict[str, Any]) -> dict[str, str]:
    """What enableServiceLinks sets in every pod, as the kubelet makes it."""
    name = service["metadata"]["name"].upper().replace("-", "_")
    address = "10.96.0.7"
    made = {f"{name}_SERVICE_HOST": address}
    for position, port in enumerate(service["spec"]["ports"]):
        number, protocol = port["port"], port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{address}:{number}"
        prefix = f"{name}_PORT_{number}_{protocol}"
        if position == 0:
            made |= {f"{name}_SERVICE_PORT": str(number), f"{name}_PORT": url}
        made |= {
            f"{name}_SERVICE_PORT_{port['name'].upper()}": str(number),
            prefix: url,
            f"{prefix}_PROTO": protocol.lower(),
            f"{prefix}_PORT": str(number),
            f"{prefix}_ADDR": address,
        }
    return made


def test_who_selects_whom() -> None:
    daemon = resource("Deployment")["spec"]["template"]["metadata"]["labels"]
    for kind, path in (
        ("Service", ("selector",)),
        ("PodDisruptionBudget", ("selector", "matchLabels")),
        ("PodMonitor", ("selector", "matchLabels")),
        ("NetworkPolicy", ("podSelector", "matchLabels")),
    ):
        chosen = resource(kind)["spec"]
        for step in path:
            chosen = chosen[step]
        assert chosen.items() <= daemon.items(), kind
    policy = resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    assert all(policy <= pod["metadata"]["labels"].items() for pod in pods())
    ports = {
        port["name"]
        for pod in pods()
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    }
    for name in ("filterd", "filterd-retrain"):
        for endpoint in resource("PodMonitor", name)["spec"]["podMetricsEndpoints"]:
            assert endpoint["port"] in ports


def test_the_autoscaler_scales_the_deployment() -> None:
    spec = resource("ScaledObject")["spec"]
    assert spec["scaleTargetRef"]["name"] == resource("Deployment")["metadata"]["name"]
    assert "replicas" not in resource("Deployment")["spec"], "it would fight the autoscaler"
    # No stream yet: a daemon always runs and makes it; no answer is no load, an error no change.
    assert spec["minReplicaCount"] >= 1
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "true"
    assert trigger["metadata"]["query"].endswith(">= 0)")
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_every_pod_is_restricted() -> None:
    for pod in pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec["containers"], *spec.get("initContainers", [])):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"], json.dumps(container)
