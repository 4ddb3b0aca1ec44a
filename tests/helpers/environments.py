"""Environments that name several workers."""

TF_CONFIG = {
    "cluster": {"worker": ["a:1", "b:2"]},
    "task": {"type": "worker", "index": 1},
}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "n[8-11]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
    "SLURM_JOB_ID": "7",
    "CUDA_VISIBLE_DEVICES": "4,5,6,7",
}
TWO_A_NODE = {"SLURM_STEP_NODELIST": "a,b", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}
