"""Parts of the mpec backend: Pyomo models, pieces of the complementarity, stationarity."""
