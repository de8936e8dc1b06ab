/* What the pool of a workload really did, as a row beside those of the virtual driver. Pure. */
#ifndef CONNLEAK_OBSERVED_H
#define CONNLEAK_OBSERVED_H

#include "demand.h"
#include "whatif_row.h"

/* Fills *row from the connections and exchanges as they were seen. Closes without a reason
 * (a capture has none) are REASON_NONE, but those of a server that closed an idle connection. */
void observe(const struct demands *d, struct whatif_row *row);

/* Dials that were seen, by split, as virtual_dials_by_split counts them: the caller frees. */
uint64_t *observe_dials_by_peer(const struct demands *d);

#endif
