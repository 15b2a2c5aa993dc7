"""A JupyterHub on one machine: a container of the course's image for each student, by Docker.

COURSE_IMAGE names the image, COURSE_TEACHER the teacher. Students sign up with a name and a
password of their own, and can log in once the teacher has authorised them, at /hub/authorize.
"""

import os
from pathlib import Path

import nativeauthenticator

c = get_config()  # noqa: F821 (JupyterHub defines it)

c.JupyterHub.bind_url = os.environ.get("HUB_URL", "http://127.0.0.1:8000")
c.JupyterHub.hub_ip = os.environ.get("HUB_IP", "172.17.0.1")  # where containers reach the hub
c.JupyterHub.authenticator_class = "native"
c.JupyterHub.template_paths = [str(Path(nativeauthenticator.__file__).with_name("templates"))]
c.Authenticator.allow_all = True  # of those who were authorised
c.Authenticator.admin_users = {os.environ["COURSE_TEACHER"]}  # by signing up, so be the first
c.NativeAuthenticator.minimum_password_length = 10
c.NativeAuthenticator.check_common_password = True
c.NativeAuthenticator.allowed_failed_logins = 5  # then ten minutes' wait

c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.DockerSpawner.image = os.environ.get("COURSE_IMAGE", "containers-live")
# without this, the image would start a JupyterLab that knows of no hub
c.DockerSpawner.cmd = ["jupyterhub-singleuser"]
# twenty kernels at once on a few processors are not ready within a minute
c.Spawner.args = ["--MappingKernelManager.kernel_info_timeout=300"]
c.DockerSpawner.remove = True
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.volumes = {"course-{username}": "/home/jovyan/notebooks"}
c.Spawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.Spawner.mem_limit = "2G"
c.Spawner.cpu_limit = 1
c.DockerSpawner.extra_host_config = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "pids_limit": 1024,  # a notebook with its Lab VM takes up to 50
}

c.JupyterHub.load_roles = [
    {
        "name": "cull-idle",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["cull-idle"],
    }
]
c.JupyterHub.services = [
    {"name": "cull-idle", "command": ["python3", "-m", "jupyterhub_idle_culler", "--timeout=3600"]}
]
