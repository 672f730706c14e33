"""What SLURM 22.05 put into the environment of processes, recorded on a cluster of two nodes.

Less what nothing here reads. `test_environments.py` compares it with the SLURM that is installed.
"""

READ = (
    "ENVIRONMENT",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_NNODES",
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_PROCID",
    "SLURM_RESTART_COUNT",
    "SLURM_STEP_ID",
)
TWO_TASKS = {"SLURM_NNODES": "2", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
INTERACTIVE = {"SLURM_JOB_NAME": "interactive"}
BATCH = {"ENVIRONMENT": "BATCH", "SLURM_JOB_NAME": "job"}
STEP = {"SLURM_STEP_ID": "0"}

# sbatch --nodes=2 --ntasks-per-node=1, and in its script: srun PROGRAM; the second task
SBATCH_SRUN = {**BATCH, **TWO_TASKS, **STEP, "SLURM_JOB_ID": "1", "SLURM_PROCID": "1"}
# the same job after `scontrol requeue`
REQUEUED = {**SBATCH_SRUN, "SLURM_RESTART_COUNT": "1"}
# the same script without srun
SBATCH = {**BATCH, **TWO_TASKS, "SLURM_JOB_ID": "1", "SLURM_PROCID": "0"}
# sbatch --ntasks=2
SBATCH_NTASKS = {
    **{**BATCH, **STEP, "SLURM_JOB_ID": "2", "SLURM_PROCID": "0"},
    **{"SLURM_NNODES": "1", "SLURM_NTASKS": "2"},
}
# sbatch --array=3
ARRAY = {
    **{**BATCH, **STEP, "SLURM_JOB_ID": "3", "SLURM_PROCID": "0"},
    **{"SLURM_NNODES": "1", "SLURM_NTASKS": "1"},
    **{"SLURM_ARRAY_JOB_ID": "3", "SLURM_ARRAY_TASK_ID": "3"},
}
# srun --nodes=2 --ntasks-per-node=1 PROGRAM
SRUN = {
    **{**TWO_TASKS, **STEP, "SLURM_JOB_ID": "4", "SLURM_PROCID": "1"},
    **{"SLURM_JOB_NAME": "PROGRAM"},
}
# srun --pty bash
SRUN_SHELL = {
    **{**STEP, "SLURM_JOB_ID": "5", "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0"},
    **{"SLURM_NNODES": "1", "SLURM_NTASKS": "1"},
}
# salloc --nodes=2 --ntasks-per-node=1, and in its shell: srun PROGRAM
SALLOC_SRUN = {**INTERACTIVE, **TWO_TASKS, **STEP, "SLURM_JOB_ID": "6", "SLURM_PROCID": "1"}
# the shell itself
SALLOC = {**INTERACTIVE, **TWO_TASKS, "SLURM_JOB_ID": "7"}
# the shell itself where LaunchParameters=use_interactive_step puts it on a node
SALLOC_ON_NODE = {
    **{**INTERACTIVE, **TWO_TASKS, "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"},
    **{"SLURM_STEP_ID": "4294967290"},
}
# salloc without options
SALLOC_ONE = {**INTERACTIVE, "SLURM_JOB_ID": "8", "SLURM_NNODES": "1"}
