package platform

// InstanceType is one kind of instance that a platform offers.
type InstanceType struct {
	Name      string `json:"name"`
	CPUs      int    `json:"cpus"`
	MemoryMiB int64  `json:"memoryMiB"`
	ARM64     bool   `json:"arm64,omitempty"`    // Graviton; else x86_64
	GPUs      int    `json:"gpus,omitempty"`     // GPUs of NVIDIA, which containers can be given
	DiskGB    int    `json:"diskGB,omitempty"`   // local NVMe disks together; 0: none
	Previous  bool   `json:"previous,omitempty"` // of a generation that has a successor
}

// InstanceOffer is an instance type and what an hour of it costs in one region.
type InstanceOffer struct {
	InstanceType
	Price Price
}

// UsableMemoryMiB is the memory that tasks can surely have: the kernel and the firmware keep some of what is advertised.
// An m5d.large of 8 GiB shows 7.6 GiB; larger types keep less in proportion.
func (t InstanceType) UsableMemoryMiB() int64 { return t.MemoryMiB - max(t.MemoryMiB/20, 200) }
