"""Pictures of an answer, for papers and notebooks: needs ``pip install "stackel[plot]"``.

Every function returns a Matplotlib figure, shows nothing and leaves pyplot alone. Leaders and
followers are numbered from 0. A leader has one colour everywhere, of Okabe and Ito's palette, which
colour-blind readers tell apart; amounts run through viridis.
"""

from stackel.plots.comparing import comparison
from stackel.plots.deviations import deviations
from stackel.plots.equilibria import equilibrium, social_graph
from stackel.plots.histories import convergence
from stackel.plots.sweeps import sweep

__all__ = ["comparison", "convergence", "deviations", "equilibrium", "social_graph", "sweep"]
