/* What the pool of a workload really did, as a row beside those of the virtual driver. Pure. */
#ifndef CONNLEAK_OBSERVED_H
#define CONNLEAK_OBSERVED_H

#include "demand.h"
#include "whatif_row.h"

/* Fills *row from the connections and exchanges as they were seen. Dials that failed are left out: the
 * model has none. Closes for which nothing shows a reason are REASON_NONE (demands_reason). */
void observe(const struct demands *d, struct whatif_row *row);

#endif
