"""The market as environments of other libraries, and those libraries' training on it.

The environments step all copies of the market in a few array operations, so that nothing measured
is spent in loops of ours. Everybody sees the actions of the last round, scaled to [-1, 1].
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stackel.learners.bounds_and_rewards import Market

CELLS, HIDDEN = 64, 128


# -- BenchMARL -------------------------------------------------------------------------------------


def benchmarl(
    market: Market, copies: int, rounds: int, epochs: int, minibatches: int, iterations: int
) -> Iterator[float]:
    """CPU seconds of each iteration of independent PPO with recurrent networks in BenchMARL."""
    from benchmarl.algorithms import IppoConfig
    from benchmarl.environments.common import TaskClass
    from benchmarl.experiment import Callback, Experiment, ExperimentConfig
    from benchmarl.models import LstmConfig, MlpConfig, SequenceModelConfig
    from torchrl.data import Bounded, Composite, Unbounded
    from torchrl.envs import EnvBase

    groups = {"leaders": market.leader_low.T.shape, "followers": market.follower_low.shape}
    features = sum(players * decisions for players, decisions in groups.values())
    limits = [
        torch.as_tensor(b, dtype=torch.float32)
        for b in (market.leader_low, market.leader_high, market.follower_low, market.follower_high)
    ]

    class Markets(EnvBase):
        def __init__(self, count: int) -> None:
            super().__init__(batch_size=torch.Size([count]))
            seen: dict[str, Any] = {}
            acted: dict[str, Any] = {}
            earned: dict[str, Any] = {}
            for group, (players, decisions) in groups.items():
                within = (count, players)
                one = {"shape": within}
                seen[group] = Composite(observation=Unbounded((*within, features)), **one)
                acted[group] = Composite(action=Bounded(-1.0, 1.0, (*within, decisions)), **one)
                earned[group] = Composite(reward=Unbounded((*within, 1)), **one)
            self.observation_spec = Composite(seen, shape=(count,))
            self.action_spec = Composite(acted, shape=(count,))
            self.reward_spec = Composite(earned, shape=(count,))
            flag = {"shape": (count, 1), "dtype": torch.bool}
            self.done_spec = Composite(
                {k: Unbounded(**flag) for k in ("done", "terminated")}, shape=(count,)
            )

        def _observed(self, last: Tensor, over: bool) -> Any:
            from tensordict import TensorDict

            done = torch.full((*self.batch_size, 1), over)
            out = TensorDict({"done": done, "terminated": done.clone()}, batch_size=self.batch_size)
            for group, (players, _) in groups.items():
                each = last[:, None].expand(-1, players, -1)
                out[group] = TensorDict({"observation": each}, batch_size=each.shape[:2])
            return out

        def _reset(self, tensordict: Any, **options: Any) -> Any:
            self.round = 0
            return self._observed(2 * torch.rand(*self.batch_size, features) - 1, False)

        def _step(self, tensordict: Any) -> Any:
            self.round += 1
            u, v = (tensordict[group, "action"].clamp(-1, 1) for group in groups)
            x = limits[0] + (limits[1] - limits[0]) * (u.transpose(1, 2) + 1) / 2
            y = limits[2] + (limits[3] - limits[2]) * (v + 1) / 2
            last = torch.cat([u.transpose(1, 2).flatten(1), v.flatten(1)], dim=1)
            out = self._observed(last, self.round == rounds)
            for group, reward in zip(groups, market.tensor_rewards(x, y), strict=True):
                out[group, "reward"] = reward[..., None]
            return out

        def _set_seed(self, seed: int | None) -> None:
            torch.manual_seed(seed or 0)

    class MarketTask(TaskClass):
        def get_env_fun(self, num_envs: int, **options: Any) -> Callable[[], EnvBase]:
            return lambda: Markets(num_envs)

        def supports_continuous_actions(self) -> bool:
            return True

        def supports_discrete_actions(self) -> bool:
            return False

        def max_steps(self, env: EnvBase) -> int:
            return rounds

        def has_render(self, env: EnvBase) -> bool:
            return False

        def group_map(self, env: EnvBase) -> dict[str, list[str]]:
            return {g: [f"{g}_{k}" for k in range(n)] for g, (n, _) in groups.items()}

        def observation_spec(self, env: EnvBase) -> Composite:
            return env.full_observation_spec_unbatched.clone()

        def action_spec(self, env: EnvBase) -> Composite:
            return env.full_action_spec_unbatched.clone()

        def info_spec(self, env: EnvBase) -> None:
            return None

        state_spec = action_mask_spec = info_spec

        @staticmethod
        def env_name() -> str:
            return "stackel"

        def __reduce__(self) -> Any:  # BenchMARL keeps the task in a file, nobody reads it
            return str, ("market",)

    class Clock(Callback):
        """Reads the CPU's clock when the last group has learned."""

        def __init__(self) -> None:
            super().__init__()
            self.times: list[float] = []

        def on_train_end(self, training_td: Any, group: str) -> None:
            if group == "followers":
                self.times.append(time.process_time())

        def __reduce__(self) -> Any:
            return str, ("clock",)

    dense = {"activation_class": nn.ReLU, "layer_class": nn.Linear}
    model = SequenceModelConfig(
        model_configs=[
            MlpConfig(num_cells=[HIDDEN], **dense),
            LstmConfig(
                hidden_size=CELLS,
                n_layers=2,
                bias=True,
                dropout=0.0,
                compile=False,
                mlp_num_cells=[CELLS],
                mlp_layer_class=nn.Linear,
                mlp_activation_class=nn.ReLU,
            ),
        ],
        intermediate_sizes=[HIDDEN],
    )
    config = ExperimentConfig.get_from_yaml()
    frames = copies * rounds
    config.share_policy_params = False
    config.on_policy_collected_frames_per_batch = frames
    config.on_policy_n_envs_per_worker = copies
    config.on_policy_n_minibatch_iters = epochs
    config.on_policy_minibatch_size = frames // minibatches
    config.max_n_frames, config.max_n_iters = None, iterations + 1
    config.adam_extra_kwargs = {"fused": True}
    config.evaluation, config.render, config.loggers, config.create_json = False, False, [], False
    algorithm = IppoConfig.get_from_yaml()
    algorithm.share_param_critic = False
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config.save_folder = folder
        task = MarketTask("market", {})
        Experiment(task, algorithm, model, seed=0, config=config, callbacks=[clock]).run()
    for before, after in zip(clock.times, clock.times[1:], strict=False):
        yield after - before


# -- Stable-Baselines3 -----------------------------------------------------------------------------


def recurrent_ppo(
    market: Market, copies: int, rounds: int, epochs: int, batch: int, iterations: int
) -> Iterator[float]:
    """CPU seconds of each iteration of RecurrentPPO in sb3-contrib, in the first leader's seat.

    The library trains one agent; the others act in the middle of their ranges, at no cost.
    """
    from gymnasium.spaces import Box
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv

    features = market.leader_low.size + market.follower_low.size
    mine = len(market.leader_low)

    class Seat(VecEnv):
        """All copies at once, in the form that Stable-Baselines3 steps."""

        def __init__(self) -> None:
            box = [Box(-1.0, 1.0, (size,), dtype=np.float32) for size in (features, mine)]
            super().__init__(copies, *box)
            self.u = np.zeros((copies, *market.leader_low.shape))
            self.v = np.zeros((copies, *market.follower_low.shape))
            self.rng = np.random.default_rng(0)

        def reset(self) -> np.ndarray:
            self.round = 0
            return self.rng.uniform(-1, 1, (copies, features)).astype(np.float32)

        def step_async(self, actions: np.ndarray) -> None:
            self.u[:, :, 0] = actions

        def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
            self.round += 1
            x, y = market.leader_actions(self.u), market.follower_actions(self.v)
            rewards = market.rewards(x, y)[0][:, 0].astype(np.float32)
            seen = np.hstack([self.u.reshape(copies, -1), self.v.reshape(copies, -1)])
            seen = seen.astype(np.float32)
            over = self.round == rounds
            infos: list[dict] = [{} for _ in range(copies)]
            if over:
                infos = [{"terminal_observation": row} for row in seen]
                seen = self.reset()
            return seen, rewards, np.full(copies, over), infos

        def close(self) -> None:
            pass

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [getattr(self, attr_name, None)] * copies

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            setattr(self, attr_name, value)

        def env_method(self, method_name: str, *args: Any, **options: Any) -> list[Any]:
            return [None] * copies

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * copies

    class Dense(BaseFeaturesExtractor):
        def __init__(self, space: Box) -> None:
            super().__init__(space, HIDDEN)
            sizes = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
            self.layers = nn.Sequential(sizes[0], nn.ReLU(), sizes[1], nn.ReLU())

        def forward(self, seen: Tensor) -> Tensor:
            return self.layers(seen)

    model = RecurrentPPO(
        "MlpLstmPolicy",
        Seat(),
        n_steps=rounds,
        batch_size=batch,
        n_epochs=epochs,
        device="cpu",
        seed=0,
        policy_kwargs={
            "features_extractor_class": Dense,
            "share_features_extractor": False,
            "lstm_hidden_size": CELLS,
            "n_lstm_layers": 2,
            "enable_critic_lstm": True,
            "net_arch": [CELLS],
            "activation_fn": nn.ReLU,
        },
    )
    for k in range(iterations + 1):
        began = time.process_time()
        model.learn(copies * rounds, reset_num_timesteps=k == 0)
        if k > 0:
            yield time.process_time() - began
