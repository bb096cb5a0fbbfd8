"""The training loop: sample tasks, read D_train into phi, answer D_test from phi, update theta."""

from __future__ import annotations

import torch

from metacli.compute.processes import SINGLE_PROCESS, Processes
from metacli.config.recipe import Recipe
from metacli.training.data_parallel import Share, align_batch, restore_on_process_loss, sum_gradients
from metacli.training.logbook import Logbook
from metacli.training.optimizer import clip_gradients, scale_loss, set_learning_rate
from metacli.training.outcome import Outcome
from metacli.training.prefetch import prefetch
from metacli.training.progress import Progress
from metacli.training.run import Run, RunPlan
from metacli.training.state import TrainState, Update
from metacli.training.stopping import Deadline, Stopper


def train(
    recipe: Recipe,
    plan: RunPlan,
    device: torch.device,
    progress: Progress,
    threads: int | None = None,
    deadline: Deadline | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Outcome:
    """Train a model with a recipe. A resumed run reaches the same weights as a run that was never stopped.

    Args:
        plan: the run directory, and the weights or the run to start from.
        threads: number of CPU threads. None keeps that of a resumed run, or measures which number is fastest.
        deadline: when to stop, after at least one step. The deadline of the first process counts.
        processes: the processes that train together; the first one reads and writes the run directory.

    Raises:
        UsageError: the run directory exists, belongs to another recipe or is locked, or the warm start does not fit.
        MetacliError: the loss or the gradient is not finite, or a file cannot be written.
        ProcessLostError: another process has ended. On a CPU the last complete step was saved.
        KeyboardInterrupt: a second signal; it does not wait for the current step.
    """
    with Run(recipe, plan, processes) as run:  # locked before anything is read
        state = TrainState.build(recipe, device, processes, threads, run.previous_threads)
        run.open(state, progress)
        stop = Stopper(deadline, run.load_patience(state), processes)
        log = Logbook(run, state, progress, stop.patience)
        with stop, log, prefetch(state, run.step, recipe.train.steps) as episodes:
            while run.step < recipe.train.steps and not stop.agreed:
                episode = next(episodes)  # 1, 2: T_i ~ p(T); D_train and D_test
                share = align_batch(state, episode, stop.read())  # one message: padding, weights, stop
                update = train_step(state, share, run.step)  # 3, 4
                run.step += 1
                stop.agree(share.stop_code)
                log.after_step(update)  # log, validate, count patience, save
    return Outcome.of(run, state, stop, log.seconds)


def train_step(state: TrainState, share: Share, step: int) -> Update:
    """Compute update number `step` (from 0) of theta, from this process's share of a batch of tasks.

    Raises:
        ProcessLostError: another process has ended. The model is unchanged.
    """
    tasks, model, optimizer, cfg = state.tasks, state.model, state.optimizer, state.recipe.train
    model.train()
    set_learning_rate(optimizer, cfg.learning_rate(step))
    with restore_on_process_loss(model, state.processes):
        episode = share.episode.to(state.device)
        phi = model.adapt(episode.x_train, episode.y_train, episode.mask_train)  # 3: phi_i <- f_theta(D_train)
        output = model.predict(phi, episode.x_test, episode.y_previous)  # never sees y_test
        loss = tasks.loss(output, episode) * share.of_loss  # sum_i L(phi_i, D_test)
        optimizer.zero_grad(set_to_none=True)
        scale_loss(loss, share.weight, share.batch, cfg).backward()
        with torch.no_grad():
            score = tasks.headline_score(output, episode).mean() * share.of_tasks
        loss, score = sum_gradients(model, state.processes, torch.stack([loss.detach(), score]), share.of_tasks)
    norm = clip_gradients(model, cfg)
    optimizer.step()  # 4: theta
    return Update(loss, score, norm)
